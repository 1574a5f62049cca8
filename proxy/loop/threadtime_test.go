package loop

import (
	"runtime"
	"testing"
	"time"
)

// What a loop has used never shrinks, whichever thread it is on, and another
// thread's time is not counted as its own.
func TestThreadTime(t *testing.T) {
	var used threadTime
	on := func(f func()) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // and not unlocked: the thread ends with it
			f()
		}()
		<-done
	}
	last := int64(0)
	ask := func() int64 {
		t.Helper()
		total := used.used()
		if total < last {
			t.Fatalf("%d ns after %d", total, last)
		}
		grown := total - last
		last = total
		return grown
	}
	compute := func() {
		for end := time.Now().Add(20 * time.Millisecond); time.Now().Before(end); {
		}
	}
	for range 3 {
		on(func() {
			compute()
			if grown := ask(); grown != 0 {
				t.Errorf("%d ns of a thread that it was not on before", grown)
			}
			compute()
			if grown := ask(); grown <= 0 {
				t.Errorf("%d ns of 20 ms", grown)
			}
		})
	}
}
