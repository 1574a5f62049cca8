package loop

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"perigee/proxy/exchange"
	"perigee/proxy/wire"
)

// hold keeps a loop from doing anything until release is called.
func hold(t *testing.T, l *Loop) (release func()) {
	t.Helper()
	held, over := make(chan struct{}), make(chan struct{})
	l.post(function(func() {
		close(held)
		<-over
	}))
	<-held
	return func() { close(over) }
}

// Of what a wake-up brings, each event's exchange gets as far as it can before
// the next one is looked at: it finds its memory in the cache, and what it lent
// serves the next.
func TestOneExchangeAfterAnother(t *testing.T) {
	s, a, addr := serve(t, 1, Limits{})
	clients := make([]*talker, 8)
	for i := range clients {
		clients[i] = dial(t, addr)
		if _, err := clients[i].ask("/"); err != nil {
			t.Fatal(err)
		}
	}
	var steps []string
	s.onAll(func(l *Loop) {
		s.opt.Begin = func(*exchange.Exchange) { steps = append(steps, "begin") }
		s.opt.Advance = func(ex *exchange.Exchange) bool {
			finished := a.advance(ex)
			if finished {
				steps = append(steps, "end")
			}
			return finished
		}
	})
	release := hold(t, s.loops[0])
	for _, c := range clients {
		if err := c.send("/"); err != nil {
			t.Fatal(err)
		}
	}
	release()
	for _, c := range clients {
		if _, err := c.answer(); err != nil {
			t.Fatal(err)
		}
	}
	s.onAll(func(*Loop) {})
	for pair := range slices.Chunk(steps, 2) {
		if !slices.Equal(pair, []string{"begin", "end"}) {
			t.Fatalf("%q", steps)
		}
	}
	if len(steps) != 2*len(clients) {
		t.Errorf("%d steps", len(steps))
	}
}

// A request's memory is of the size of its head, which arrives whole in whatever
// pieces it is sent and however long it is.
func TestHeadsOfAllLengths(t *testing.T) {
	s, _, addr := serve(t, 1, Limits{Head: wire.Limits{HeaderBytes: 16 << 10}})
	const least = len("GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n")
	for _, length := range []int{100, firstBuffer - 1, firstBuffer, firstBuffer + 1, headBuffer - 1, headBuffer, headBuffer + 1, 16 << 10} {
		for _, pieces := range []int{1, 2, 7} {
			t.Run(fmt.Sprintf("%d in %d", length, pieces), func(t *testing.T) {
				c := dial(t, addr)
				request := "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", length-least) + "\r\n\r\n"
				for range 2 {
					for piece := range slices.Chunk([]byte(request), len(request)/pieces+1) {
						if _, err := c.nc.Write(piece); err != nil {
							t.Fatal(err)
						}
						s.onAll(func(*Loop) {})
					}
					if answer, err := c.answer(); err != nil || answer != "loop 0" {
						t.Fatalf("%q, %v", answer, err)
					}
				}
				// Several at once: the later ones are behind the first in its memory.
				if _, err := io.WriteString(c.nc, strings.Repeat(request, 3)); err != nil {
					t.Fatal(err)
				}
				for range 3 {
					if answer, err := c.answer(); err != nil || answer != "loop 0" {
						t.Fatalf("%q, %v", answer, err)
					}
				}
			})
		}
	}
}
