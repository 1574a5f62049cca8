package e2e

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// scalesOnCPU: the autoscaler of components/hpa-cpu goes from one pod to several
// and back, while requests cost CPU. What a request costs is measured first: the
// load that fills several pods is another on each machine.
func (f *fleet) scalesOnCPU(t *testing.T) {
	f.apply(t, "cpu")
	f.settle(t, 1)
	cost := f.cost(t)
	request := f.agent.gateways()[0].spec().Resources.Requests.Cpu().AsApproximateFloat64()
	// What n pods use at a share of their request.
	load := func(n, share float64) float64 { return n * share * request / cost }
	peak := func(try int) float64 { return load(3.5, 0.7) * (1 + 0.2*float64(try)) }
	r := f.beginScaling(t, "heavy", peak(0))
	r.grow(t, 3, runSeconds, peak)
	if !testing.Short() {
		r.hold(t, request)
	}
	r.shrink(t, 5)
	r.lostNothing(t)
	held := r.holds(t)
	reasons := f.reasons(t, r.load.begin, "cpu container resource utilization")
	f.report(t, section{
		name: "cpu", title: "Scaling on CPU", svg: r.line.svg("1 → N → 1 on CPU (target 70 % of the request, down under 30 %)", 70),
		text: fmt.Sprintf("A POST costs %.2f ms of CPU here, a pod requests %.0f ms each second.\n\n", 1000*cost, 1000*request) + r.text("heavy", reasons) + held,
	})
}

// stabilization is what quick/ has for scale-down.
const stabilization = 15 * time.Second

// hold offers what keeps CPU between the tolerance's end, 30 % of the request, and
// what the target alone would take a pod away at, for longer than the stabilization
// window: tries, since CPU is another on a busy machine at any time.
func (r *scaling) hold(t *testing.T, request float64) {
	t.Helper()
	r.next(t, 1) // the youngest pod has its share
	for range 6 {
		// What requests cost now, each second's by itself.
		var cores, requests float64
		for _, m := range r.line.since(20 * time.Second) {
			cores, requests = cores+m.cpu*float64(m.ready)*request, requests+m.perSecond
		}
		r.load.offerFor(0.39*float64(r.line.last().wanted)*request*requests/max(cores, 0.001), 40)
		r.next(t, 1)
		if _, longest := r.held(); longest > stabilization+5*time.Second {
			return
		}
	}
	t.Error("CPU was never for long enough between 30 % of the request and where the target alone takes a pod away")
}

// held is for how long the target alone has asked for fewer pods, while CPU was
// over 30 % of the request: on end until now, and at the longest.
func (r *scaling) held() (now, longest time.Duration) {
	all := r.line.since(time.Hour)
	for i := 1; i < len(all); i++ {
		m := all[i]
		if fewer := int(math.Ceil(float64(m.wanted) * m.cpu / 0.7)); m.cpu >= 0.3 && fewer < m.wanted {
			now += m.at.Sub(all[i-1].at)
		} else {
			now = 0
		}
		longest = max(longest, now)
	}
	return now, longest
}

// cost is the CPU time of a request, in seconds, on the one pod that there is.
func (f *fleet) cost(t *testing.T) float64 {
	t.Helper()
	p := f.agent.gateways()[0]
	l := startLoad(t, f.target, "heavy", 40)
	var at [3]sample
	for i, more := range []float64{0, 60, 200} { // of the first, scripts are compiled
		eventually(t, 3*time.Minute, "requests", func() (why string) {
			l.check()
			v, err := p.look()
			if err != nil {
				return err.Error()
			}
			if at[i] = v; i > 0 && v.requests < at[i-1].requests+more {
				return fmt.Sprintf("%.0f of %.0f", v.requests-at[i-1].requests, more)
			}
			return ""
		})
	}
	l.stop().lostNothing(t)
	cost := (at[2].cpu - at[1].cpu) / (at[2].requests - at[1].requests)
	if cost <= 0 {
		t.Fatalf("CPU time is %.2f s, then %.2f s", at[1].cpu, at[2].cpu)
	}
	return cost
}

// holds: no pod is taken away before the mean CPU was under 30 % of the request
// (and a little, for what is measured at another moment), although the target
// alone would ask for fewer: behavior.scaleDown.tolerance.
func (r *scaling) holds(t *testing.T) string {
	least := func(until time.Time) float64 {
		lowest := math.Inf(1)
		for _, m := range r.line.all {
			// As far back as the stabilization window and a look at the metrics reach.
			if age := until.Sub(m.at); age >= 0 && age < 25*time.Second {
				lowest = min(lowest, m.cpu)
			}
		}
		return lowest
	}
	for i, m := range r.line.all[1:] {
		before := r.line.all[i]
		if cpu := least(before.at); m.wanted < before.wanted && cpu > 0.36 {
			t.Errorf("from %d to %d pods with CPU at %.0f %% of the request or more: a tolerance of 0.57 holds them down to 30 %%", before.wanted, m.wanted, 100*cpu)
		}
	}
	_, longest := r.held()
	return fmt.Sprintf("`behavior.scaleDown.tolerance`: no pod was taken away with CPU over 36 %% of the request, though for %.0f s on end\n(the stabilization window has %.0f) the target alone asked for fewer.", longest.Seconds(), stabilization.Seconds())
}

// scalesOnSaturation: components/hpa-custom, while requests wait. CPU is far
// from its target: what the gateway says of itself binds. More requests than a pod
// may have in flight are refused, so load grows with the fleet, as far as a pod
// short of its limit.
func (f *fleet) scalesOnSaturation(t *testing.T) {
	// A new autoscaler: of one that has said much, client-go folds what it says next
	// into one event, which has the last words alone.
	if err := f.client.AutoscalingV2().HorizontalPodAutoscalers(namespace).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	f.apply(t, "saturation")
	f.settle(t, 1)
	r := f.beginScaling(t, "long", 40)
	for pods := 1; pods < 3; pods++ {
		r.grow(t, pods+1, 2*runSeconds, func(try int) float64 {
			// Each waits for two seconds, so that what a stalled k6 makes up for at once
			// is little beside them: of a pod's 100 there are to be 80.
			return float64(pods) * min(80+2*float64(try), 88) / 2
		})
	}
	r.shrink(t, 3)
	r.lostNothing(t)
	reasons := f.reasons(t, r.load.begin, "perigee_saturation_ratio")
	if cpu := r.line.most(func(m moment) float64 { return m.cpu }); cpu > 0.7 {
		t.Errorf("CPU went to %.0f %% of the request: it asked for pods, too", 100*cpu)
	}
	f.report(t, section{
		name: "saturation", title: "Scaling on saturation", text: r.text("wait 2 s", reasons),
		svg: r.line.svg("1 → N → 1 on saturation (target 70 %)", 70),
	})
}

// scaling is a load that changes the fleet.
type scaling struct {
	*result
	load        *load
	line        *timeline
	most        int
	first, back time.Duration // until the second pod served, until one was left
}

// beginScaling loads the fleet of one pod, at first a little.
func (f *fleet) beginScaling(t *testing.T, kind string, perSecond float64) *scaling {
	t.Helper()
	f.settle(t, 1)
	r := &scaling{line: f.record(t)}
	if !testing.Short() {
		perSecond /= 20
	}
	r.load = startLoad(t, f.target, kind, perSecond)
	return r
}

// next waits for the runs of k6 that begin from now on, n of them.
func (r *scaling) next(t *testing.T, n int64) {
	t.Helper()
	until := r.load.runs.Load() + n + 1
	eventually(t, 5*time.Minute, "the load", func() string {
		r.load.check()
		if now := r.load.runs.Load(); now < until {
			return fmt.Sprintf("%d of %d runs", now, until)
		}
		return ""
	})
}

// grow offers load until there are so many pods: a little more with each run of k6.
func (r *scaling) grow(t *testing.T, pods int, seconds int64, perSecond func(try int) float64) {
	t.Helper()
	begin := r.load.runs.Load()
	eventually(t, 5*time.Minute, fmt.Sprintf("%d pods under load", pods), func() string {
		r.load.check()
		r.load.offerFor(perSecond(int(r.load.runs.Load()-begin)), seconds)
		if m := r.line.last(); m.ready < pods {
			return fmt.Sprintf("%d are ready, %d wanted, CPU at %.0f %% of the request, saturation %.0f %%, %d requests/s offered", m.ready, m.wanted, 100*m.cpu, 100*m.saturation, r.load.rate.Load())
		}
		return ""
	})
}

// shrink offers little load, until the fleet is one pod, and ends it.
func (r *scaling) shrink(t *testing.T, perSecond float64) {
	t.Helper()
	r.load.offer(perSecond)
	eventually(t, 8*time.Minute, "one pod under little load", func() string {
		r.load.check()
		if m := r.line.last(); m.ready != 1 || m.wanted != 1 {
			return fmt.Sprintf("%d are ready, %d wanted, CPU at %.0f %% of the request, saturation %.0f %%", m.ready, m.wanted, 100*m.cpu, 100*m.saturation)
		}
		return ""
	})
	r.result = r.load.stop()
	r.line.end()
	for _, m := range r.line.all {
		r.most = max(r.most, m.ready)
		if m.ready > 1 && r.first == 0 {
			r.first = m.at.Sub(r.load.begin)
		}
		if m.ready > 1 || m.wanted > 1 {
			r.back = 0
		} else if r.first > 0 && r.back == 0 {
			r.back = m.at.Sub(r.load.begin)
		}
	}
}

// reasons are the autoscaler's words for growing. Each is to name one metric.
func (f *fleet) reasons(t *testing.T, since time.Time, binding string) (found []string) {
	t.Helper()
	eventually(t, time.Minute, "the autoscaler's reasons for growing", func() string {
		events, err := f.client.CoreV1().Events(namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=HorizontalPodAutoscaler"})
		if err != nil {
			return err.Error()
		}
		found = nil
		for _, e := range events.Items {
			if e.Reason == "SuccessfulRescale" && strings.Contains(e.Message, "above target") && !e.LastTimestamp.Time.Before(since.Truncate(time.Second)) {
				found = append(found, e.Message)
			}
		}
		if len(found) == 0 {
			return fmt.Sprintf("none in %d events", len(events.Items))
		}
		return ""
	})
	for _, reason := range found {
		if !strings.Contains(reason, binding) {
			t.Errorf("not %s was the binding metric: %s", binding, reason)
		}
	}
	return found
}

func (r *scaling) text(kind string, reasons []string) string {
	text := fmt.Sprintf("1 → %d → 1 pods. The second served after %.0f s, one was left after %.0f s. Mean CPU of\nthe pods was %.0f %% of the request at most, mean saturation %.0f %%. The autoscaler's reasons:\n\n",
		r.most, r.first.Seconds(), r.back.Seconds(), 100*r.line.most(func(m moment) float64 { return m.cpu }), 100*r.line.most(func(m moment) float64 { return m.saturation }))
	for _, reason := range reasons {
		text += "- " + reason + "\n"
	}
	return text + "\n" + resultHead + r.result.line(kind) + "\n"
}
