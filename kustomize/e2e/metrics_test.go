package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	custommetrics "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	metrics "k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

// window is the time over which metrics are taken. metrics-server has 15 s, the
// adapter's rules 30 s: the autoscaler here looks more often, too.
const window = 4 * time.Second

// sample is what a process says and uses at a moment.
type sample struct {
	at         time.Time
	cpu        float64 // seconds since its start, from /proc
	rss        int64
	saturation float64
	inflight   float64
	requests   float64 // since its start
	// storeErrors are questions to Redis without an answer in time.
	storeErrors float64
}

// samples are those of a window, oldest first.
type samples struct {
	mu  sync.Mutex
	all []sample
}

func (s *samples) add(v sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.all); n > 0 && v.cpu < s.all[n-1].cpu { // another process
		s.all = nil
	}
	s.all = append(s.all, v)
	for len(s.all) > 2 && v.at.Sub(s.all[1].at) >= window {
		s.all = s.all[1:]
	}
}

// usage is the mean of the window; false: it is not full yet.
func (s *samples) usage() (u usage, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) < 3 {
		return u, false
	}
	first, last := s.all[0], s.all[len(s.all)-1]
	seconds := last.at.Sub(first.at).Seconds()
	u = usage{at: last.at, cores: (last.cpu - first.cpu) / seconds, rss: last.rss, perSecond: (last.requests - first.requests) / seconds}
	for _, v := range s.all[1:] {
		u.saturation += v.saturation / float64(len(s.all)-1)
		u.inflight += v.inflight / float64(len(s.all)-1)
	}
	return u, true
}

type usage struct {
	at                                     time.Time
	cores, saturation, inflight, perSecond float64
	rss                                    int64
}

// look samples a gateway's process and its metrics door.
func (p *pod) look() (v sample, err error) {
	p.mu.Lock()
	alive, pid := p.alive, 0
	if alive {
		pid = p.cmd.Process.Pid
	}
	p.mu.Unlock()
	if !alive {
		return v, fmt.Errorf("%s has no process", p.name())
	}
	v.at = time.Now()
	if v.cpu, v.rss, err = processUsage(pid); err != nil {
		return v, err
	}
	response, err := scrapeClient.Get("http://" + p.address + ":9902/metrics")
	if err != nil {
		return v, err
	}
	defer func() { _ = response.Body.Close() }()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		// A label may hold a space: the value is behind the last one.
		end := strings.LastIndexByte(lines.Text(), ' ') + 1
		family, _, _ := strings.Cut(lines.Text()[:max(0, end-1)], "{")
		value, _ := strconv.ParseFloat(lines.Text()[end:], 64)
		switch family {
		case "perigee_saturation_ratio":
			v.saturation = value
		case "perigee_inflight_requests":
			v.inflight += value
		case "perigee_limit_store_errors_total":
			v.storeErrors += value
		case "perigee_requests_total":
			v.requests += value
		}
	}
	return v, lines.Err()
}

var scrapeClient = http.Client{Timeout: 900 * time.Millisecond}

// processUsage is a process's CPU time and memory, from /proc.
func processUsage(pid int) (cpu float64, rss int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	// After the name, which may hold anything: state is the third field.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 22 {
		return 0, 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	pages, _ := strconv.ParseInt(fields[21], 10, 64)
	return (user + system) / 100, pages * int64(os.Getpagesize()), nil
}

// sample looks at all gateways until the test ends.
func (a *agent) sample() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-a.ctx.Done():
			return
		case <-tick.C:
		}
		for _, p := range a.gateways() {
			if v, err := p.look(); err == nil {
				p.samples.add(v)
			}
		}
	}
}

// metricsAPIs is where metrics.k8s.io and custom.metrics.k8s.io are served; the
// API server reaches it through a Service that is a name for loopback.
const metricsAPIs = `apiVersion: v1
kind: Service
metadata: {name: e2e-metrics, namespace: kube-system}
spec: {type: ExternalName, externalName: localhost, ports: [{port: %[1]s}]}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.metrics.k8s.io}
spec: {group: metrics.k8s.io, version: v1beta1, groupPriorityMinimum: 100, versionPriority: 100, insecureSkipTLSVerify: true, service: {name: e2e-metrics, namespace: kube-system, port: %[1]s}}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta2.custom.metrics.k8s.io}
spec: {group: custom.metrics.k8s.io, version: v1beta2, groupPriorityMinimum: 100, versionPriority: 100, insecureSkipTLSVerify: true, service: {name: e2e-metrics, namespace: kube-system, port: %[1]s}}
`

// startMetrics serves both APIs and waits until the API server passes them on.
func startMetrics(t *testing.T, c *cluster, a *agent) {
	t.Helper()
	go a.sample()
	c.keys.sign(t, "metrics")
	address := freeAddress(t)
	server := &http.Server{Addr: address, Handler: a.metricsHandler()}
	go func() { _ = server.ListenAndServeTLS(c.keys.path("metrics.crt"), c.keys.path("metrics.key")) }()
	t.Cleanup(func() { _ = server.Close() })
	c.kubectl(t, strings.NewReader(fmt.Sprintf(metricsAPIs, port(address))), "apply", "--server-side", "-f", "-")
	c.kubectl(t, nil, "wait", "--for=condition=Available", "--timeout=300s", "apiservice/v1beta1.metrics.k8s.io", "apiservice/v1beta2.custom.metrics.k8s.io")
}

// gauges are the names of Prometheus Adapter's rules that are served.
var gauges = map[string]func(usage) float64{
	"perigee_saturation_ratio":    func(u usage) float64 { return u.saturation },
	"perigee_inflight_requests":   func(u usage) float64 { return u.inflight },
	"perigee_requests_per_second": func(u usage) float64 { return u.perSecond },
}

func (a *agent) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/apis/metrics.k8s.io/v1beta1", resources("metrics.k8s.io/v1beta1",
		metav1.APIResource{Name: "pods", Namespaced: true, Kind: "PodMetrics", Verbs: metav1.Verbs{"get", "list"}}))
	var served []metav1.APIResource
	for name := range gauges {
		served = append(served, metav1.APIResource{Name: "pods/" + name, Namespaced: true, Kind: "MetricValueList", Verbs: metav1.Verbs{"get"}})
	}
	mux.HandleFunc("/apis/custom.metrics.k8s.io/v1beta2", resources("custom.metrics.k8s.io/v1beta2", served...))
	mux.HandleFunc("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods", func(w http.ResponseWriter, r *http.Request) {
		list := metrics.PodMetricsList{TypeMeta: metav1.TypeMeta{Kind: "PodMetricsList", APIVersion: "metrics.k8s.io/v1beta1"}}
		a.each(r, func(p *pod, u usage) { list.Items = append(list.Items, podMetrics(p, u)) })
		writeJSON(w, list)
	})
	mux.HandleFunc("/apis/custom.metrics.k8s.io/v1beta2/namespaces/{namespace}/pods/{pod}/{metric}", func(w http.ResponseWriter, r *http.Request) {
		gauge := gauges[r.PathValue("metric")]
		if gauge == nil {
			http.NotFound(w, r)
			return
		}
		list := custommetrics.MetricValueList{TypeMeta: metav1.TypeMeta{Kind: "MetricValueList", APIVersion: "custom.metrics.k8s.io/v1beta2"}}
		a.each(r, func(p *pod, u usage) {
			list.Items = append(list.Items, custommetrics.MetricValue{
				DescribedObject: corev1.ObjectReference{Kind: "Pod", Namespace: p.object.Namespace, Name: p.name(), APIVersion: "v1"},
				Metric:          custommetrics.MetricIdentifier{Name: r.PathValue("metric")},
				Timestamp:       metav1.NewTime(u.at), Value: *resource.NewMilliQuantity(int64(gauge(u)*1000), resource.DecimalSI),
			})
		})
		writeJSON(w, list)
	})
	return mux
}

func podMetrics(p *pod, u usage) metrics.PodMetrics {
	return metrics.PodMetrics{
		ObjectMeta: metav1.ObjectMeta{Name: p.name(), Namespace: p.object.Namespace, Labels: p.object.Labels},
		Timestamp:  metav1.NewTime(u.at), Window: metav1.Duration{Duration: window},
		Containers: []metrics.ContainerMetrics{{Name: p.spec().Name, Usage: corev1.ResourceList{
			"cpu":    *resource.NewMilliQuantity(int64(u.cores*1000), resource.DecimalSI),
			"memory": *resource.NewQuantity(u.rss, resource.BinarySI),
		}}},
	}
}

// each calls f for the gateways that a request's selector names.
func (a *agent) each(r *http.Request, f func(p *pod, u usage)) {
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		return
	}
	for _, p := range a.gateways() {
		if u, ok := p.samples.usage(); ok && p.object.Namespace == r.PathValue("namespace") && selector.Matches(labels.Set(p.object.Labels)) {
			f(p, u)
		}
	}
}

func resources(version string, all ...metav1.APIResource) http.HandlerFunc {
	slices.SortFunc(all, func(x, y metav1.APIResource) int { return strings.Compare(x.Name, y.Name) })
	return func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, metav1.APIResourceList{
			TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: version, APIResources: all,
		})
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
