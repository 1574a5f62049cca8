package loop

import (
	"net"
	"os"

	"golang.org/x/sys/unix"

	"perigee/luavm"
	"perigee/proxy/exchange"
)

// tunnel performs an OpTunnel: both sockets go to goroutines, which copy, and
// the exchange stays here for its end.
func (t *task) tunnel(op *luavm.Op) {
	c, ex := t.client, t.ex
	c.closes = true
	c.loop.set(&c.timer, 0)
	ahead := append([]byte(nil), c.buf[c.r:c.w]...)
	c.r = c.w
	c.body.done = true
	up, err := ex.Up.Hijack()
	if err != nil {
		op.Err = err
		t.done(op)
		return
	}
	client, err := c.leave()
	if err != nil {
		_ = up.Close()
		op.Err = err
		t.done(op)
		return
	}
	c.tunneled = client
	go func() {
		defer ex.Complete(op)
		defer up.Close()
		var sent, received int64
		sent, received, op.Err = up.Copy(client, ahead)
		_ = client.Close()
		ex.Record.ResponseBodyBytes += sent
		ex.Record.BytesIn += received
	}()
}

// leave gives the client's descriptor to the runtime's poller; the loop watches
// it no longer.
func (c *client) leave() (net.Conn, error) {
	fd, err := unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	nc, err := net.FileConn(f)
	_ = f.Close()
	if err == nil {
		err = unix.EpollCtl(c.loop.epoll, unix.EPOLL_CTL_DEL, c.fd, nil)
		c.gone = true // nothing is read here any more
		c.loop.stats.tunnels.Add(1)
		if c.tls != nil {
			nc = c.tls.leave(nc)
		}
	}
	return nc, err
}

var _ exchange.Downstream = (*client)(nil)
