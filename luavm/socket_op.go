package luavm

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"perigee/luavm/shim"
)

// Ops of sockets; Number2 is the address of the pg_sock. PG_OP_SOCK_*.
const (
	OpSockConnect   OpKind = 16
	OpSockHandshake OpKind = 17
	OpSockRead      OpKind = 18
	OpSockWrite     OpKind = 19
	OpSockQueue     OpKind = 20
)

// Ops on the client's own connection, which its host performs: it reads into
// Room, once, or sends all of Unsent, within Timeout. Result is the count (0:
// the end) or a SocketOutcome. PG_OP_REQ_*.
const (
	OpReqRead    OpKind = 48 // of the request's body
	OpReqReadRaw OpKind = 49
	OpReqWrite   OpKind = 50
)

// SocketAborted is the outcome of a read that the client has ended too early.
const SocketAborted int32 = sockAborted

// SocketTimeout is the outcome of an op of a socket that took too long.
const SocketTimeout int32 = sockTimeout

// SocketOutcome is a failure as ops of sockets report it.
func SocketOutcome(err error) int32 { return outcome(err) }

// Room is where an OpReqRead or OpReqReadRaw puts what it read.
func (op *Op) Room() []byte { return shim.SockAt(op.Number2).Room() }

// Unsent is what an OpReqWrite sends.
func (op *Op) Unsent() []byte { return shim.SockAt(op.Number2).Unsent() }

// Timeout is how long a script's read or write may wait.
func (op *Op) Timeout() time.Duration { return op.bounded() }

// performSocket does what a script's socket waits for. Result is a count,
// -errno or one of the sock outcomes.
func performSocket(op *Op) {
	vm, c := op.VM(), shim.SockAt(op.Number2)
	if op.Kind == OpSockConnect {
		connectSocket(op, c)
		return
	}
	k := vm.conns.get(c.Handle)
	if k == nil {
		op.Result = sockBroken
		return
	}
	if err := k.attach(c); err != nil {
		op.Result = outcome(err)
		return
	}
	switch op.Kind {
	case OpSockHandshake:
		handshakeSocket(op, c, k)
	case OpSockRead:
		n, err := k.read(op, c.Room(), op.bounded())
		switch {
		case err == nil:
			op.Result = int32(n)
		case err == io.EOF:
			op.Result = 0
		default:
			op.Result = outcome(err)
		}
	case OpSockWrite:
		op.Result = outcome(k.write(op, c.Unsent(), op.bounded()))
	}
}

// bounded is the op's own timeout, or what is left of the phase's time.
func (op *Op) bounded() time.Duration {
	d := time.Duration(min(op.Seconds, 1e9) * float64(time.Second))
	if !op.Until.IsZero() {
		d = min(d, time.Until(op.Until))
	}
	return d
}

// A target is what a script asked to connect to.
type target struct {
	network string // tcp, udp, unix, unixgram
	address string // as net.Dial takes it
	text    string // for the log
}

// connectSocket resolves and connects. Reply says what was tried.
func connectSocket(op *Op, c *shim.Sock) {
	ctx, cancel := context.WithCancel(context.Background())
	if !op.Until.IsZero() {
		ctx, cancel = context.WithDeadline(context.Background(), op.Until)
	}
	defer cancel()
	op.OnCancel(cancel)
	settings := op.w.slot.sockets
	find, connect := settings.find, dial
	if instead := op.VM().pool.options.Dial; instead != nil {
		find = unresolved
		connect = func(ctx context.Context, to target, _ string) (net.Conn, error) {
			return instead(ctx, to.network, to.address)
		}
	}
	to, err := find(ctx, string(op.Data), int(op.Int), c.Flags&shim.SockDatagram != 0)
	if err != nil {
		op.Result, op.Reply = sockUnresolved, append(op.Reply[:0], err.Error()...)
		return
	}
	op.Reply = append(op.Reply[:0], to.text...)
	ctx, stop := context.WithTimeout(ctx, op.bounded())
	defer stop()
	nc, err := connect(ctx, to, string(op.Data2))
	if err != nil {
		op.Result = outcome(err)
		if ctx.Err() == context.DeadlineExceeded {
			op.Result = sockTimeout
		}
		if b := (*bindError)(nil); errors.As(err, &b) {
			op.Number = 1
		}
		return
	}
	op.OnCancel(nil)
	k := newConn(nc)
	c.FD = k.descriptor()
	c.Handle = op.VM().conns.add(k)
	if c.Handle == 0 {
		k.close()
		op.Result = sockBroken
	}
}

// find makes an address of a host, by asking for a name if it is one.
func (s *SocketSettings) find(ctx context.Context, host string, port int, datagram bool) (target, error) {
	if path, ok := cutPrefixFold(host, "unix:"); ok {
		network := "unix"
		if datagram {
			network = "unixgram"
		}
		return target{network, path, host}, nil
	}
	network := "tcp"
	if datagram {
		network = "udp"
	}
	name := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	ip, err := netip.ParseAddr(name)
	if err != nil {
		ip, err = s.lookup(ctx, host)
	}
	if err != nil {
		return target{}, err
	}
	at := netip.AddrPortFrom(ip.Unmap(), uint16(port)).String()
	return target{network, at, at}, nil
}

// unresolved is find that leaves a name as it is.
func unresolved(_ context.Context, host string, port int, datagram bool) (target, error) {
	if _, ok := cutPrefixFold(host, "unix:"); ok {
		return (*SocketSettings)(nil).find(context.Background(), host, port, datagram)
	}
	network := "tcp"
	if datagram {
		network = "udp"
	}
	at := net.JoinHostPort(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), strconv.Itoa(port))
	return target{network, at, at}, nil
}

func cutPrefixFold(s, prefix string) (rest string, ok bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// bindError is a local address that cannot be had.
type bindError struct{ error }

func (e *bindError) Unwrap() error { return e.error }

func dial(ctx context.Context, to target, local string) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1, Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if local == "" && to.network != "unixgram" {
			return nil
		}
		bad := raw.Control(func(fd uintptr) { err = bind(int(fd), to.network, local) })
		if err != nil {
			return &bindError{err}
		}
		return bad
	}}
	return d.DialContext(ctx, to.network, to.address)
}

// bind gives a socket its own address. A datagram socket of the unix family
// gets one from the kernel: without it nobody could answer.
func bind(fd int, network, local string) error {
	if network == "unixgram" {
		return unix.Bind(fd, &unix.SockaddrUnix{})
	}
	at, err := netip.ParseAddrPort(local)
	if err != nil {
		ip, err := netip.ParseAddr(local)
		if err != nil {
			return err
		}
		at = netip.AddrPortFrom(ip, 0)
	}
	if at.Addr().Is4() {
		return unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()})
	}
	return unix.Bind(fd, &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()})
}
