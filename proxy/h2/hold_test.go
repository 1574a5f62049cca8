package h2

import (
	"fmt"
	"io"
	"testing"

	"golang.org/x/net/http2"
)

// TestHold has heads wait for their bodies.
func TestHold(t *testing.T) {
	p := newPeer(t)
	p.conn.Hold()
	first, second, third := p.begin(get), p.begin(get), p.begin(get)
	feed := func(want ...*Stream) {
		t.Helper()
		p.woken = nil
		if err := p.feed(); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(p.woken) != fmt.Sprint(want) {
			t.Errorf("woken: %v, want %v", p.woken, want)
		}
	}
	p.headers(1, false, ":status", "200")
	p.headers(3, false, ":status", "200")
	feed()
	if !p.conn.Holds() {
		t.Error("no head waits")
	}
	_ = p.framer.WriteData(3, false, []byte("x"))
	feed(second)
	p.headers(5, true, ":status", "204")
	feed(third) // there is nothing to wait for
	p.woken = nil
	if p.conn.Pass(); len(p.woken) != 1 || p.woken[0] != first {
		t.Errorf("passed: %v", p.woken)
	}
	p.woken = nil
	if p.conn.Pass(); p.conn.Holds() || len(p.woken) != 0 {
		t.Errorf("passed again: %v", p.woken)
	}
	_ = p.framer.WriteData(1, true, []byte("x"))
	_ = p.framer.WriteData(3, true, []byte("x"))
	feed(first, second)
	for _, s := range []*Stream{first, second, third} {
		if _, err := text(s); err != io.EOF {
			t.Error(err)
		}
		s.Close()
	}

	// Streams that end with their head held are forgotten.
	closed, reset := p.begin(get), p.begin(get)
	p.headers(7, false, ":status", "200")
	p.headers(9, false, ":status", "200")
	_ = p.framer.WriteRSTStream(9, http2.ErrCodeCancel)
	feed(reset)
	closed.Close()
	p.woken = nil
	if p.conn.Pass(); p.conn.Holds() || len(p.woken) != 0 {
		t.Errorf("a closed stream is told of: %v", p.woken)
	}
}
