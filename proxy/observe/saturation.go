package observe

import (
	"context"
	"sync"
	"time"
)

// SaturationWindow is the time over which perigee_saturation_ratio is taken.
const SaturationWindow = time.Second

// saturationTicks is how many samples a window has.
const saturationTicks = 10

// Part is one of the things that can be full. Exactly one of Level and Busy is set.
type Part struct {
	// Name is the part's label: "inflight", "lua", "cpu".
	Name string
	// Level returns how full the part is right now, 0..1. The window's value is
	// the mean of its samples.
	Level func() float64
	// Busy returns time used since the start, over all of Workers. The window's
	// value is what was used of what there was.
	Busy func() time.Duration
	// Workers is how many can be busy at once (VMs, loops); it is asked for each
	// sample because a reload may change it.
	Workers func() int
}

// Saturation is how near the gateway is to its limits: the largest of its parts,
// each 0..1 over the last second. The zero value has no parts and reads 0.
type Saturation struct {
	mu    sync.Mutex
	parts []*partWindow
}

type partWindow struct {
	Part
	samples [saturationTicks]float64
	next    int
	last    time.Duration // Busy at the sample before
}

// Add adds a part, replacing one of the same name.
func (s *Saturation) Add(p Part) {
	w := &partWindow{Part: p}
	if p.Busy != nil {
		w.last = p.Busy()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.parts {
		if s.parts[i].Name == p.Name {
			s.parts[i] = w
			return
		}
	}
	s.parts = append(s.parts, w)
}

// Run samples the parts until ctx ends. One goroutine of the gateway does it.
func (s *Saturation) Run(ctx context.Context) {
	tick := time.NewTicker(SaturationWindow / saturationTicks)
	defer tick.Stop()
	before := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			// The clock is read again: a ticker's own time is when it fired, which
			// under load is well before this goroutine ran.
			now := time.Now()
			s.sample(now.Sub(before))
			before = now
		}
	}
}

// sample takes one sample of every part; elapsed is the time since the last.
func (s *Saturation) sample(elapsed time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.parts {
		w.samples[w.next] = w.read(elapsed)
		w.next = (w.next + 1) % saturationTicks
	}
}

// read returns the part's fullness over elapsed, clamped to 0..1.
func (w *partWindow) read(elapsed time.Duration) float64 {
	if w.Level != nil {
		return min(max(w.Level(), 0), 1)
	}
	busy := w.Busy()
	used := busy - w.last
	w.last = busy
	workers := w.Workers()
	if workers <= 0 || elapsed <= 0 {
		return 0
	}
	return min(max(float64(used)/float64(elapsed)/float64(workers), 0), 1)
}

// Ratio returns the largest part's mean over the last window, 0..1.
func (s *Saturation) Ratio() float64 {
	var largest float64
	s.each(func(_ string, mean float64) { largest = max(largest, mean) })
	return largest
}

func (s *Saturation) each(f func(name string, mean float64)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.parts {
		var sum float64
		for _, v := range w.samples {
			sum += v
		}
		f(w.Name, sum/saturationTicks)
	}
}
