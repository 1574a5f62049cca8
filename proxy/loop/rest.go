package loop

import (
	"time"

	"golang.org/x/sys/unix"
)

// What a look at the sockets costs is nearly the same for one event and for sixty,
// and so is what it costs to wake a client or an endpoint that has nothing else to
// read. A loop that is as fast as those it talks to is drawn to the worst of it:
// it looks, finds one event, serves it, looks again.
//
//	without     look . look . . look . look . look . . look .
//	resting     look ....    rest    look .....    rest    look ....
//
// So a loop that is busy and finds little rests before it looks again, as network
// cards do before they interrupt (Mogul and Ramakrishnan, "Eliminating receive
// livelock in an interrupt-driven kernel", 1997). An endpoint that several exchanges
// share gains most: its answers come in one read, and the next requests leave in one
// write.
//
// Nobody should notice. Where an exchange takes 60 us, because few clients wait for
// each other's answers, a rest would only be a delay; where 64 clients keep all
// cores busy it takes a millisecond whatever the loop does. So a rest is an eighth
// of the time that nine in ten exchanges take or exceed, and there is none where
// that comes to less than leastRest. A loop that has had nothing to do goes on at
// once: it sleeps in its poll, and the first event ends that.
const (
	restShare = 8
	leastRest = int64(25 * time.Microsecond)
	mostRest  = int64(100 * time.Microsecond)
	// few is how many events a look must bring for another at once.
	few = 16
	// mostHold is how long requests may wait to leave together while the loop finds
	// other things to do; see held.
	mostHold = int64(100 * time.Microsecond)
)

// quickest follows what nine in ten exchanges take or exceed, in ns: each that
// takes longer moves it up a little, one that does not moves it down nine times as
// far.
type quickest int64

// quickestMost is where more would make no difference. It must not get far from
// there, or the first quick exchanges would wait.
const quickestMost = quickest(restShare * mostRest)

func (q *quickest) add(took time.Duration) {
	step := *q>>8 + 100
	if quickest(took) > *q {
		*q = min(*q+step, quickestMost)
	} else {
		*q = max(*q-9*step, 0)
	}
}

// rest lets events come together; see above. What is held leaves before, so that its
// endpoint works meanwhile. more is as settle's.
func (l *Loop) rest() (more bool) {
	if l.got >= few {
		return false
	}
	ns := min(int64(l.quickest)/restShare, mostRest)
	if ns < leastRest {
		return false
	}
	if len(l.held) > 0 && l.letGo() {
		return true
	}
	_ = unix.Nanosleep(&unix.Timespec{Nsec: ns}, nil)
	return false
}

// beExact has the kernel end this thread's rests when they are over: by itself it
// lets a thread sleep for up to 50 us longer. What does not work is no loss.
func beExact() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) }
