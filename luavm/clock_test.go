//go:build cgo && luajit

package luavm

import (
	"sync"
	"testing"
	"time"
)

// leapClock passes when somebody waits: every timer is due at once, in order.
type leapClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *leapClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *leapClock) Running(int) {}

func (c *leapClock) After(d time.Duration, _ Reason, f func()) func() bool {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.mu.Unlock()
	go f()
	return func() bool { return false }
}

// TestClock: with a clock of their own, scripts sleep no time of ours, and
// everything they can read of time has passed all the same.
func TestClock(t *testing.T) {
	p, scripts := dataPool(t, Options{Clock: &leapClock{now: time.UnixMilli(1e12)}, Dicts: declared(t, map[string]int64{"d": 64 << 10})}, `
		local d, from = ngx.shared.d, ngx.now()
		d:set("k", 1, 60)
		ngx.sleep(59)
		ngx.print(d:get("k"), " ")
		ngx.sleep(3600)
		ngx.print(d:get("k"), " ", math.floor(ngx.now() - from), " ")
		ngx.update_time()
		ngx.print(math.floor(ngx.now() - from), " ", math.floor(ngx.now() - ngx.req.start_time()),
			" ", ngx.var.request_time, " ", ngx.utctime())`)
	begin := time.Now()
	slot, err := p.Pin(0)
	if err != nil {
		t.Fatal(err)
	}
	defer slot.Release()
	slot.SetNumbers(&Numbers{StartTime: float64(begin.UnixMilli()) / 1e3, StartNS: 1})
	out := slot.Start(scripts[0], PhaseContent, nil)
	for out.Kind == Wait {
		Perform(out.Op)
		out = slot.Resume(out.Op, nil)
	}
	if out.Kind != Done {
		t.Fatalf("%+v: %v", out, out.Err)
	}
	if got, want := string(slot.Output()), "1 nil 3659 3659 3659 3659.000 2001-09-09 02:47:39"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("an hour of sleep took %s", took)
	}
}
