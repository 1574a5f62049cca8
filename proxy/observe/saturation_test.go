package observe

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestSaturationIsTheLargestPartOverTheWindow(t *testing.T) {
	var s Saturation
	if s.Ratio() != 0 {
		t.Error("without parts it is not 0")
	}
	level, busy, workers := 0.2, time.Duration(0), 4
	s.Add(Part{Name: "inflight", Level: func() float64 { return level }})
	s.Add(Part{Name: "lua", Busy: func() time.Duration { return busy }, Workers: func() int { return workers }})
	const tick = SaturationWindow / saturationTicks
	window := func(work time.Duration) float64 {
		for range saturationTicks {
			busy += work
			s.sample(tick)
		}
		return s.Ratio()
	}
	for _, step := range []struct {
		name    string
		level   float64
		work    time.Duration
		workers int
		want    float64
	}{
		{"level above busy", 0.2, 0, 4, 0.2},
		{"three of four workers", 0.2, 3 * tick, 4, 0.75},
		{"more than there is", 0.2, 9 * tick, 4, 1},
		{"no workers", 0.2, tick, 0, 0.2},
		{"level above 1", 7, 0, 4, 1},
		{"level below 0", -1, 0, 4, 0},
	} {
		level, workers = step.level, step.workers
		if got := window(step.work); math.Abs(got-step.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", step.name, got, step.want)
		}
	}
	level = 1
	s.sample(tick)
	if got := s.Ratio(); math.Abs(got-1.0/saturationTicks) > 1e-9 {
		t.Errorf("one full sample gives %v, want a tenth", got)
	}
	s.Add(Part{Name: "inflight", Level: func() float64 { return 0 }})
	parts := 0
	s.each(func(string, float64) { parts++ })
	if parts != 2 {
		t.Errorf("%d parts after replacing one of two", parts)
	}
}

func TestSaturationRunEndsWithItsContext(t *testing.T) {
	var s Saturation
	s.Add(Part{Name: "x", Level: func() float64 { return 1 }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	for s.Ratio() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
}

func TestCPUStatPaths(t *testing.T) {
	for name, c := range map[string]struct{ memberships, first string }{
		"v2":        {"0::/kubepods/pod1\n", "/r/kubepods/pod1/cpu.stat"},
		"v1":        {"4:memory:/m\n3:cpu,cpuacct:/pod1\n", "/r/cpu,cpuacct/pod1/cpu.stat"},
		"container": {"0::/\n", "/r/cpu.stat"},
		"nothing":   {"", "/r/cpu.stat"},
		"garbage":   {"x\n:\n::\n", "/r/cpu.stat"},
	} {
		paths := cpuStatPaths("/r", []byte(c.memberships))
		if paths[0] != c.first || !slices.Contains(paths, "/r/cpu/cpu.stat") {
			t.Errorf("%s: %v", name, paths)
		}
	}
}

func TestThrottledShareOfPeriods(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cpu.stat")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("usage_usec 1\nnr_periods 10\nnr_throttled 2\nthrottled_usec 5\n")
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	stat := &throttle{file: f}
	if !stat.read() {
		t.Fatal("not read")
	}
	for _, step := range []struct {
		name, text string
		want       float64
	}{
		{"no period passed", "nr_periods 10\nnr_throttled 2\n", 0},
		{"one of four", "nr_periods 14\nnr_throttled 3\n", 0.25},
		{"all", "nr_periods 15\nnr_throttled 4\n", 1},
		{"no such fields", "usage_usec 3\n", 0},
		{"not a number", "nr_periods x\nnr_throttled 4\n", 0},
	} {
		write(step.text)
		if got := stat.level(); got != step.want {
			t.Errorf("%s: %v, want %v", step.name, got, step.want)
		}
	}
}
