package e2e

import (
	"fmt"
	"testing"
	"time"
)

// rollsOut: a new image and the way back lose no POST, neither one that waits in
// the gateway nor one that goes to an origin. Pods without preStop and with a
// grace period of a second lose POSTs that take longer: the check can fail.
func (f *fleet) rollsOut(t *testing.T) {
	f.scale(t, 3)
	line := f.record(t)
	waiting := startLoad(t, f.target, "wait", 40)
	proxied := startLoad(t, f.target, "echo", 60)
	f.flows(t, 200)
	begin := time.Now()
	line.mark("rollout")
	if testing.Short() { // the pods that follow are those that the control wants
		f.becomeCareless(t)
	} else {
		f.kubectl(t, nil, "-n", namespace, "set", "image", "deployment/perigee", "perigee=registry.example.com/perigee:0.2.0")
	}
	f.rolled(t, 3)
	text := fmt.Sprintf("Three pods are replaced by new ones (after %.0f s there is no old one left)", time.Since(begin).Seconds())
	if !testing.Short() {
		line.mark("rollback")
		begin = time.Now()
		f.kubectl(t, nil, "-n", namespace, "rollout", "undo", "deployment/perigee")
		f.rolled(t, 3)
		text += fmt.Sprintf(", and `rollout undo`\ntakes their image back (%.0f s)", time.Since(begin).Seconds())
	}
	f.flows(t, 200)
	line.mark("over")
	text += ".\n\n" + resultHead
	proxied.stopped.Store(true) // both end at once
	for _, l := range []*load{waiting, proxied} {
		r := l.stop()
		r.lostNothing(t)
		text += r.line(map[string]string{"wait": "wait, 0.5 s in the gateway", "echo": "echo, proxied"}[l.kind])
	}
	line.end()
	text += f.carelessRollout(t)
	f.report(t, section{
		name: "rollout", title: "Rolling update and rollback", text: text,
		svg: line.svg("Three pods are replaced, and replaced again", 0),
	})
}

// flows waits until so many more requests have reached the pods.
func (f *fleet) flows(t *testing.T, n int64) {
	t.Helper()
	until := f.service.requests() + n
	eventually(t, 3*time.Minute, "requests", func() string {
		if now := f.service.requests(); now < until {
			return fmt.Sprintf("%d to come", until-now)
		}
		return ""
	})
}

// careless is what base/deployment.yaml must not become.
const careless = `{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":1,"containers":[{"name":"perigee","lifecycle":null}]}}}}`

func (f *fleet) becomeCareless(t *testing.T) {
	t.Helper()
	f.kubectl(t, nil, "-n", namespace, "patch", "deployment/perigee", "--type=strategic", "-p", careless)
}

// carelessRollout is the negative control; it leaves the fleet as it was.
func (f *fleet) carelessRollout(t *testing.T) string {
	if !testing.Short() {
		f.becomeCareless(t)
		f.rolled(t, 3)
	}
	l := startLoad(t, f.target, "long", 40)
	f.flows(t, 100)
	f.apply(t, "overlay")
	f.rolled(t, 3)
	r := l.stop()
	if len(r.failures) == 0 {
		t.Error("pods without preStop and with a grace period of 1 s were replaced and no POST of 2 s failed: this test cannot fail")
	}
	return r.line("wait 2 s, **without preStop, grace period 1 s**")
}
