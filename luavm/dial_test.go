//go:build cgo && luajit

package luavm

import (
	"context"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
)

// TestDial: the host connects scripts' sockets, by names that nobody resolves.
func TestDial(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for c, err := ln.Accept(); err == nil; c, err = ln.Accept() {
			_, _ = io.WriteString(c, "hello\n")
			_ = c.Close()
		}
	}()
	p, scripts := dataPool(t, Options{
		Dial: func(_ context.Context, network, address string) (net.Conn, error) {
			if network == "tcp" && address == "a.invalid:80" {
				return net.Dial("tcp", ln.Addr().String())
			}
			return nil, fmt.Errorf("%s %s: %w", network, address, syscall.ECONNREFUSED)
		},
	}, `
		local s = ngx.socket.tcp()
		ngx.print(s:connect("a.invalid", 80), " ", s:receive(), " ")
		s:close()
		ngx.print(select(2, s:connect("b.invalid", 80)), ", ")
		ngx.print(select(2, s:connect("unix:/nobody/here")), ", ")
		local u = ngx.socket.udp()
		ngx.print(select(2, u:setpeername("10.0.0.1", 53)))`)
	slot, err := p.Pin(0)
	if err != nil {
		t.Fatal(err)
	}
	defer slot.Release()
	out := slot.drive(slot.Start(scripts[0], PhaseContent, nil))
	if out.Kind != Done {
		t.Fatalf("%+v: %v", out, out.Err)
	}
	if got, want := string(slot.Output()), "1 hello connection refused, connection refused, connection refused"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
