package e2e

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// rollsOut: a new image and the way back lose no POST, neither one that waits in
// the gateway nor one that goes to an origin. Without preStop and with a grace
// period of a second the same load loses some: the check can fail.
func (f *fleet) rollsOut(t *testing.T) {
	f.scale(t, 3)
	line := f.record(t)
	waiting := startLoad(t, f.target, shape{kind: "wait", stages: "40:100"})
	proxied := startLoad(t, f.target, shape{kind: "echo", stages: "60:100"})
	time.Sleep(3 * time.Second)
	line.mark("rollout")
	f.kubectl(t, nil, "-n", namespace, "set", "image", "deployment/perigee", "perigee=registry.example.com/perigee:0.2.0")
	f.rolled(t, 3)
	forth := time.Since(waiting.begin)
	line.mark("rollback")
	f.kubectl(t, nil, "-n", namespace, "rollout", "undo", "deployment/perigee")
	f.rolled(t, 3)
	back := time.Since(waiting.begin)
	line.mark("over")
	var results [2]*result
	var both sync.WaitGroup
	for i, l := range []*load{waiting, proxied} {
		both.Go(func() { results[i] = l.wait() })
	}
	both.Wait()
	line.end()
	if over := time.Duration(results[0].seconds * float64(time.Second)); back > over {
		t.Errorf("rollout and rollback took %v, the load %v: too short a load shows nothing", back, over)
	}
	text := fmt.Sprintf("Three pods take a new image (after %.0f s there is no old pod left) and `rollout undo`\ntakes it back (%.0f s).\n\n%s", forth.Seconds(), back.Seconds(), resultHead)
	for i, name := range []string{"wait, 0.5 s in the gateway", "echo, proxied"} {
		results[i].lostNothing(t)
		text += results[i].line(name)
	}
	text += f.carelessRollout(t)
	f.report(t, section{
		name: "rollout", title: "Rolling update and rollback", text: text,
		svg: line.svg("Three pods are replaced, and replaced again", 0),
	})
}

// careless is what base/deployment.yaml must not become.
const careless = `{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":1,"containers":[{"name":"perigee","lifecycle":null}]}}}}`

// carelessRollout is the negative control; it leaves the fleet as it was.
func (f *fleet) carelessRollout(t *testing.T) string {
	f.kubectl(t, nil, "-n", namespace, "patch", "deployment/perigee", "--type=strategic", "-p", careless)
	f.rolled(t, 3)
	l := startLoad(t, f.target, shape{kind: "wait", stages: "60:45"})
	time.Sleep(2 * time.Second)
	f.kubectl(t, nil, "-n", namespace, "rollout", "restart", "deployment/perigee")
	f.rolled(t, 3)
	r := l.wait()
	if len(r.failures) == 0 {
		t.Error("pods without preStop and with a grace period of 1 s were replaced and no POST failed: this test cannot fail")
	}
	f.apply(t, "overlay")
	f.rolled(t, 3)
	return r.line("wait, **without preStop, grace period 1 s**")
}
