package e2e

import (
	"fmt"
	"testing"
	"time"
)

// losesAKilledPod: a process that is killed takes with it what was in flight on
// it at that instant, and nothing after: connections that it refuses go to the
// next pod until it is no endpoint any more.
func (f *fleet) losesAKilledPod(t *testing.T) {
	f.scale(t, 3)
	r := f.kill(t, false)
	text := fmt.Sprintf("%d POSTs were in flight on the pod when it was killed, %d failed; %.0f ms later no connection to it\nwas left. New ones it refused %d times, and the splitter went to another pod.\n\n%s",
		r.inflight, len(r.failures), 1000*r.gone.Sub(r.at).Seconds(), f.splitter.refused.Load(), resultHead) + r.line("wait")
	if len(r.failures) == 0 || len(r.failures) > r.inflight {
		t.Errorf("%d POSTs failed, %d were in flight on the killed pod", len(r.failures), r.inflight)
	}
	if after := r.after(r.gone); after > 0 {
		t.Errorf("%d POSTs failed that began after the pod was killed", after)
	}
	f.settle(t, 3)
	if !testing.Short() {
		control := f.kill(t, true)
		after := control.after(control.gone)
		if after == 0 {
			t.Error("a dead pod stayed an endpoint and no POST failed after its end: this test cannot fail")
		}
		text += control.line(fmt.Sprintf("wait, **the dead pod stays an endpoint for %v, connections are not retried**: %d began after", deafness, after))
		f.settle(t, 3)
	}
	f.report(t, section{name: "kill", title: "A killed pod", text: text})
}

// killed is a run under which a pod was killed.
type killed struct {
	*result
	inflight int       // on the pod when it was killed
	at, gone time.Time // until no connection to it was left
}

// kill kills a pod under load. It is stopped first, so that it answers nothing
// while what is in flight is counted.
func (f *fleet) kill(t *testing.T, deaf bool) (r killed) {
	f.splitter.redispatch.Store(!deaf)
	f.splitter.refused.Store(0)
	defer f.splitter.redispatch.Store(false)
	l := startLoad(t, f.target, "wait", 40)
	p := f.agent.gateways()[1]
	b := f.carrying(t, l, p)
	p.deaf.Store(deaf)
	p.signal("STOP")
	done := b.requests.Load() - b.busy.Load()
	r.at = time.Now()
	p.signal("KILL")
	for b.open() > 0 {
		if time.Since(r.at) > time.Minute {
			t.Fatalf("%d connections to the killed %s are left", b.open(), p.name())
		}
		time.Sleep(time.Millisecond)
	}
	r.gone = time.Now()
	// What was on its way to the pod in these milliseconds was in flight, too.
	r.inflight = int(b.requests.Load() - done)
	f.flows(t, 200)
	r.result = l.stop()
	p.deaf.Store(false)
	return r
}

// carrying waits until requests are in flight on a pod.
func (f *fleet) carrying(t *testing.T, l *load, p *pod) (b *backend) {
	t.Helper()
	f.flows(t, 100)
	eventually(t, 3*time.Minute, "requests on "+p.name(), func() string {
		l.check()
		var err error
		if b, err = f.service.of(p.address + ":8080"); err != nil {
			return err.Error()
		}
		if b.busy.Load() < 3 {
			return fmt.Sprintf("%d of %d", b.busy.Load(), b.requests.Load())
		}
		return ""
	})
	return b
}

// losesAHungPod: a process that hangs loses what was sent to it before its
// readiness probe had failed often enough, and nothing after.
func (f *fleet) losesAHungPod(t *testing.T) {
	f.splitter.healthChecks.Store(true)
	defer f.splitter.healthChecks.Store(false)
	f.scale(t, 3)
	r := f.hang(t, 0)
	text := fmt.Sprintf("The stopped pod was out of service after %.1f s (readiness: every 2 s, twice); %d POSTs had been\nsent to it by then, %d failed.\n\n%s", r.down.Sub(r.hung).Seconds(), r.sent, len(r.failures), resultHead) + r.line("wait")
	if len(r.failures) == 0 || len(r.failures) > r.sent {
		t.Errorf("%d POSTs failed, %d were sent to the stopped pod before it was out of service", len(r.failures), r.sent)
	}
	if after := r.after(r.down); after > 0 {
		t.Errorf("%d POSTs failed that began after the stopped pod was out of service", after)
	}
	f.settle(t, 3)
	// k6 waits for an answer for 20 s.
	deaf := r.down.Sub(r.hung) + 25*time.Second
	control := f.hang(t, deaf)
	late := control.after(control.hung.Add(r.down.Sub(r.hung)))
	if late == 0 {
		t.Error("readiness was not looked at and no POST failed after its threshold: this test cannot fail")
	}
	text += control.line(fmt.Sprintf("wait, **readiness is not looked at**: %d began later than that", late))
	f.settle(t, 3)
	f.report(t, section{name: "hang", title: "A hung pod", text: text})
}

// hung is a load under which a pod was stopped.
type hung struct {
	*result
	hung, down time.Time // stopped, out of service
	sent       int       // to it from its stop until it was out of service
}

// hang stops a pod under load and lets it go on at the end. deaf is for how long
// its readiness is not looked at; 0: it is.
func (f *fleet) hang(t *testing.T, deaf time.Duration) (r hung) {
	l := startLoad(t, f.target, "wait", 40)
	p := f.agent.gateways()[1]
	b := f.carrying(t, l, p)
	p.deaf.Store(deaf > 0)
	defer p.deaf.Store(false)
	b.cuts.Store(0) // it may have been killed before
	p.signal("STOP")
	defer p.signal("CONT")
	before := b.requests.Load() - b.busy.Load()
	r.hung = time.Now()
	if deaf > 0 {
		time.Sleep(deaf)
	} else {
		eventually(t, 2*time.Minute, "out of service", func() string {
			if b.cuts.Load() == 0 {
				return "still an endpoint"
			}
			return ""
		})
		r.down = time.UnixMilli(b.cuts.Load())
	}
	r.sent = int(b.requests.Load() - before)
	f.flows(t, 100)
	r.result = l.stop()
	return r
}
