package loop

import "time"

// A timer is a deadline of something that a loop moves. The zero value is unset.
type timer struct {
	owner timed
	at    int64 // the deadline on the loop's clock; 0: none
	key   int64 // where it stands in the heap; never behind at, unless at is 0
	place int   // index in the heap plus 1; 0: not in it
}

// timed is told when a timer's deadline has passed.
type timed interface{ expire(t *timer) }

// timers is a binary heap by key.
type timers []*timer

// set makes d from now t's deadline; d <= 0: none.
func (l *Loop) set(t *timer, d time.Duration) {
	if d <= 0 {
		t.at = 0
		return
	}
	t.at = l.now + int64(d)
	switch {
	case t.place == 0:
		t.key = t.at
		l.timers = append(l.timers, t)
		t.place = len(l.timers)
		l.timers.up(t.place - 1)
	case t.at < t.key:
		t.key = t.at
		l.timers.up(t.place - 1)
	}
}

// drop takes t out of the heap: its owner is about to be forgotten.
func (l *Loop) drop(t *timer) {
	t.at = 0
	i := t.place - 1
	if i < 0 {
		return
	}
	h := l.timers
	last := len(h) - 1
	h.swap(i, last)
	h[last] = nil
	l.timers = h[:last]
	t.place = 0
	if i < last {
		l.timers.down(i)
		l.timers.up(i)
	}
}

// expireTimers tells the owners of timers that are due.
func (l *Loop) expireTimers() {
	for len(l.timers) > 0 && l.timers[0].key <= l.now {
		t := l.timers[0]
		if t.at > l.now {
			t.key = t.at // it has moved away meanwhile
			l.timers.down(0)
			continue
		}
		due := t.at != 0
		l.drop(t)
		if due {
			t.owner.expire(t)
		}
	}
}

// untilNext is how long the loop may sleep in ms; -1: without end.
func (l *Loop) untilNext() int {
	for len(l.timers) > 0 && l.timers[0].at == 0 {
		l.drop(l.timers[0]) // it would only wake the loop
	}
	if len(l.timers) == 0 {
		return -1
	}
	left := l.timers[0].key - l.now
	return int(min(max(left+999_999, 0)/1_000_000, 60_000))
}

func (h timers) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}

func (h timers) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent].key <= h[i].key {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h timers) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].key < h[least].key {
				least = child
			}
		}
		if least == i {
			return
		}
		h.swap(i, least)
		i = least
	}
}
