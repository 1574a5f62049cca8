package luatest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"perigee/luavm"
)

// connect makes a client's connection to a gateway, as a command asks: its
// listener, the client's address (from), the name for TLS (host).
func (g *gateway) connect(command *table) (net.Conn, error) {
	l, secure, err := g.chosen(command.text("listener"))
	if err != nil {
		return nil, err
	}
	remote, err := clientAddr(command.text("from"))
	if err != nil {
		return nil, err
	}
	near, far, err := g.host.pairs.dial()
	if err != nil {
		return nil, err
	}
	if err := l.give(&accepted{TCPConn: far, local: l.addr, remote: remote}); err != nil {
		_ = near.Close()
		return nil, err
	}
	if !secure {
		return near, nil
	}
	// A spec is no place to tell certificates apart in.
	return tls.Client(near, &tls.Config{ServerName: command.text("host"), InsecureSkipVerify: true}), nil
}

// chosen is the listener of an address in the configuration, else the first.
func (g *gateway) chosen(address string) (l *listener, secure bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var known []string
	for i := range g.file.Listeners {
		c := &g.file.Listeners[i]
		if address == "" || address == c.Address {
			return g.listeners[c.Address], c.TLS != nil, nil
		}
		known = append(known, c.Address)
	}
	return nil, false, fmt.Errorf("the configuration has no listener %q: it has %s", address, listed(known))
}

// clientAddr is the address that a client says it has.
func clientAddr(from string) (net.Addr, error) {
	if from == "" {
		from = "127.0.0.1"
	}
	if ip, err := netip.ParseAddr(from); err == nil {
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, 40000)), nil
	}
	at, err := netip.ParseAddrPort(from)
	if err != nil {
		return nil, fmt.Errorf("from = %q is no IP address", from)
	}
	return net.TCPAddrFromAddrPort(at), nil
}

// talk connects, has f speak, and bounds both by the command's timeout, which is
// real time.
func (h *host) talk(op *luavm.Op, command *table, f func(g *gateway, c net.Conn) (any, error)) (any, error) {
	g, err := h.gateway(command)
	if err != nil {
		return nil, err
	}
	g.out.Add(1)
	defer g.settle()
	defer g.out.Add(-1)
	c, err := g.connect(command)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	limit := 10 * time.Second
	if s := command.number("timeout"); s > 0 {
		limit = time.Duration(s * float64(time.Second))
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	op.OnCancel(cancel)
	defer op.OnCancel(nil)
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	value, err := f(g, c)
	if ctx.Err() != nil && err != nil {
		return nil, fmt.Errorf("no whole answer within %s", limit)
	}
	return value, err
}

// request is the verb request: bytes are sent, and what comes is read as the
// answer to method. The answer is {status, reason, version, headers, body}.
func (h *host) request(op *luavm.Op, command *table) (any, error) {
	return h.talk(op, command, func(_ *gateway, c net.Conn) (any, error) {
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(c, command.text("bytes"))
			sent <- err
		}()
		answer, err := readAnswer(c, command.text("method"))
		_ = c.SetWriteDeadline(time.Unix(1, 0))
		if sendErr := <-sent; err != nil && sendErr != nil {
			err = fmt.Errorf("%w (the request was not taken: %w)", err, sendErr)
		}
		return answer, err
	})
}

func readAnswer(c net.Conn, method string) (any, error) {
	r := bufio.NewReader(c)
	for {
		res, err := http.ReadResponse(r, &http.Request{Method: method})
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, errors.New("the gateway closed the connection without an answer")
		}
		if err != nil {
			return nil, fmt.Errorf("the answer cannot be read: %w", err)
		}
		if res.StatusCode < 200 && res.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		answer := newTable(
			"status", res.StatusCode, "version", float64(res.ProtoMajor)+float64(res.ProtoMinor)/10,
			"headers", headerPairs(res.Header), "trailers", headerPairs(res.Trailer), "body", string(body),
		)
		if len(res.Status) > 4 {
			answer.fields["reason"] = res.Status[4:]
		}
		if err != nil {
			answer.fields["truncated"] = err.Error()
		}
		return answer, nil
	}
}

// headerPairs lists fields as {name, value}, by name.
func headerPairs(h http.Header) *table {
	list := &table{}
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range h[name] {
			list.list = append(list.list, &table{list: []any{name, value}})
		}
	}
	return list
}

// raw is the verb raw: bytes are sent as they are, and everything that comes is
// the answer, until the gateway closes or is silent for as long as quiet says.
func (h *host) raw(op *luavm.Op, command *table) (any, error) {
	quiet := 200 * time.Millisecond
	if s := command.number("quiet"); s > 0 {
		quiet = time.Duration(s * float64(time.Second))
	}
	return h.talk(op, command, func(_ *gateway, c net.Conn) (any, error) {
		if _, err := io.WriteString(c, command.text("bytes")); err != nil {
			return nil, err
		}
		var all []byte
		buf := make([]byte, 32<<10)
		for {
			if err := c.SetReadDeadline(time.Now().Add(quiet)); err != nil {
				return string(all), nil
			}
			n, err := c.Read(buf)
			all = append(all, buf[:n]...)
			if err != nil {
				return string(all), nil
			}
		}
	})
}
