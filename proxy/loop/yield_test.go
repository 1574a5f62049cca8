package loop

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// TestYieldLetsOthersRun: a loop that never sleeps leaves its P to goroutines that
// were started on it, and to those of the global queue where loops have all Ps.
func TestYieldLetsOthersRun(t *testing.T) {
	for _, c := range []struct {
		name          string
		procs, active int
	}{
		{"one P, one loop", 1, 1},
		{"a P to spare", 2, 1},
		{"all Ps are loops'", 2, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(c.procs))
			s := &Server{}
			s.active.Store(int32(c.active))
			var ran atomic.Int32
			ended := make(chan struct{})
			for range c.active {
				go func() {
					runtime.LockOSThread()
					l := &Loop{server: s}
					for range 3 {
						go ran.Add(1)
					}
					for began := time.Now(); int(ran.Load()) < 3*c.active; l.yield() {
						if time.Since(began) > 20*time.Second {
							t.Errorf("after %d yields %d of %d goroutines have run", l.yields, ran.Load(), 3*c.active)
							break
						}
					}
					ended <- struct{}{}
				}()
			}
			for range c.active {
				<-ended
			}
		})
	}
}
