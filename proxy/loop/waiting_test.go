package loop

import (
	"slices"
	"testing"

	"perigee/proxy/exchange"
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
