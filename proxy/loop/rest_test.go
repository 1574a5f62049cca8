package loop

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestQuickestFollowsTheQuickTenth(t *testing.T) {
	for _, c := range []struct {
		name        string
		took        func(i int) time.Duration
		least, most time.Duration
	}{
		{"all alike", func(int) time.Duration { return 300 * time.Microsecond }, 270 * time.Microsecond, 310 * time.Microsecond},
		{"none takes long", func(int) time.Duration { return 0 }, 0, time.Microsecond},
		{"one in five is quick", func(i int) time.Duration {
			if rand.IntN(5) == 0 {
				return 60 * time.Microsecond
			}
			return 50 * time.Millisecond
		}, 0, 80 * time.Microsecond},
		{"evenly spread", func(int) time.Duration { return time.Duration(rand.IntN(1000)) * time.Microsecond },
			50 * time.Microsecond, 180 * time.Microsecond},
		{"all are slow", func(int) time.Duration { return time.Second }, time.Duration(quickestMost), time.Duration(quickestMost)},
	} {
		var q quickest
		for i := range 50_000 {
			q.add(c.took(i))
		}
		if got := time.Duration(q); got < c.least || got > c.most {
			t.Errorf("%s: %v, want %v to %v", c.name, got, c.least, c.most)
		}
	}
}

// TestQuickestComesDownSoon: after slow exchanges the first quick ones end rests.
func TestQuickestComesDownSoon(t *testing.T) {
	q, n := quickestMost, 0
	for ; int64(q)/restShare >= leastRest; n++ {
		q.add(60 * time.Microsecond)
	}
	if n > 60 {
		t.Errorf("%d quick exchanges had rests between them", n)
	}
}
