package e2e

import (
	"fmt"
	"testing"
)

// What overlay/perigee.yaml lets through, all pods together.
const (
	limitRate  = 50
	limitBurst = 10
)

// keepsLimits: pods count a limit together in the cluster's Redis, also while
// there are more of them and fewer. Pods that have never seen Redis know nothing of
// each other, and more get through: the check can fail.
func (f *fleet) keepsLimits(t *testing.T) {
	f.scale(t, 2)
	line := f.record(t)
	l := startLoad(t, f.target, "limited", 150)
	f.flows(t, 300)
	for _, n := range []int{4, 1} {
		line.mark("%d pods wanted", n)
		f.scale(t, n)
	}
	f.flows(t, 300)
	r := l.stop()
	late := f.limitErrors(t)
	line.end()
	r.lostNothing(t)
	// k6 is at work for less than that: its processes start, and requests of one stall
	// together now and then on shared cores, while no more than a burst is saved up.
	bound := limitBurst + int(limitRate*r.seconds)
	if r.passed > bound {
		t.Errorf("%d requests passed in %.1f s: more than %d", r.passed, r.seconds, bound)
	}
	if least := int(limitRate * r.sending * 0.8); r.passed < least {
		t.Errorf("%d requests passed: fewer than %d, 80 %% of what is allowed", r.passed, least)
	}
	text := fmt.Sprintf("50/s and a burst of 10 for one key, offered 150/s while there are 2, 4 and 1 pods.\nOf Redis's answers to the pod that was left %.0f were late or lost.\n\n| | sent | passed | bound |\n|---|---|---|---|\n| counted in Redis | %d | %d | %d |\n", late, r.requests, r.passed, bound)
	f.kubectl(t, nil, "-n", namespace, "scale", "deployment/perigee-redis", "--replicas=0")
	f.kubectl(t, nil, "-n", namespace, "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/name=perigee-redis", "--timeout=300s")
	f.scale(t, 3)
	l = startLoad(t, f.target, "limited", 150)
	f.flows(t, 2000)
	control := l.stop()
	bound = limitBurst + int(limitRate*control.seconds)
	if control.passed <= bound {
		t.Errorf("three pods without Redis let %d requests through in %.1f s, no more than with it (%d): this test cannot fail", control.passed, control.seconds, bound)
	}
	text += fmt.Sprintf("| **never seen Redis**, three pods | %d | %d | %d |\n", control.requests, control.passed, bound)
	f.report(t, section{
		name: "limit", title: "A limit of the fleet", text: text,
		svg: line.svg("A limit while the fleet changes", 0),
	})
}

// limitErrors is how often Redis did not answer in time, at the pods of now.
func (f *fleet) limitErrors(t *testing.T) (n float64) {
	for _, p := range f.agent.gateways() {
		v, err := p.look()
		if err != nil {
			t.Error(err)
		}
		n += v.storeErrors
	}
	return n
}
