package luatest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"perigee/luavm"
)

// spoken is a connection that a function of the spec speaks on, in whatever
// protocol: lua/server.lua.
type spoken struct {
	net.Conn
	r *bufio.Reader
}

// speak lets the stub's function serve a connection until it returns.
func (h *host) speak(s *stub, c net.Conn) {
	h.mu.Lock()
	h.serial++
	id := h.serial
	h.spoken[id] = &spoken{Conn: c, r: bufio.NewReader(c)}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.spoken, id)
		h.mu.Unlock()
	}()
	// It ends with its connection, which ends with the gateway.
	_, err := h.vm.call(context.Background(), h.vm.answer, newTable("speak", newTable("id", s.id, "conn", id)), nil)
	if err != nil {
		h.problem(fmt.Sprintf("the stub for %s: %v", s.name, err))
	}
}

func (h *host) speaker(command *table) (*spoken, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.spoken[command.integer("conn")]; c != nil {
		return c, nil
	}
	return nil, errors.New("closed")
}

// maxReceive bounds what a stub takes at once.
const maxReceive = 64 << 20

// receive is the verb receive: a line without its end, or size bytes.
func (h *host) receive(op *luavm.Op, command *table) (any, error) {
	c, err := h.speaker(command)
	if err != nil {
		return nil, err
	}
	op.OnCancel(func() { _ = c.Close() })
	defer op.OnCancel(nil)
	if n, ok := command.get("size").(float64); ok {
		if n < 0 || n > maxReceive {
			return nil, fmt.Errorf("a stub cannot receive %v bytes at once, only 0 to %d", n, maxReceive)
		}
		b := make([]byte, int(n))
		if _, err := io.ReadFull(c.r, b); err != nil {
			return nil, errors.New("closed")
		}
		h.clock.stir()
		return string(b), nil
	}
	line, err := c.r.ReadString('\n')
	if err != nil {
		return nil, errors.New("closed")
	}
	h.clock.stir()
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
}

// send is the verb send.
func (h *host) send(op *luavm.Op, command *table) (any, error) {
	c, err := h.speaker(command)
	if err != nil {
		return nil, err
	}
	op.OnCancel(func() { _ = c.Close() })
	defer op.OnCancel(nil)
	h.clock.stir()
	if _, err := io.WriteString(c, command.text("bytes")); err != nil {
		return nil, errors.New("closed")
	}
	return true, nil
}
