package proxy_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

const (
	callersTrace  = "0af7651916cd43dd8448eb211c80319c"
	callersParent = "00-" + callersTrace + "-b7ad6b7169203331-01"
)

// tracedConfig is a configuration with a tracing block; o is an origin's address.
func tracedConfig(tracing, o, routes string) string {
	return fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
access_log: {format: "off"}
tracing: %s
upstreams:
  o: {endpoints: ["%s"]}
routes:
%s`, tracing, o, routes)
}

// seeing is an origin that answers with the trace fields that it was sent.
func seeing(t *testing.T) *proxytest.Origin {
	return proxytest.NewOrigin(t, proxytest.Answering(func(r *http.Request, _ []byte) string {
		var b strings.Builder
		for _, name := range []string{"traceparent", "tracestate", "baggage"} {
			for _, v := range r.Header.Values(name) {
				fmt.Fprintf(&b, "%s: %s\n", name, v)
			}
		}
		status := "200 OK"
		if r.URL.Path == "/fails" {
			status = "503 Service Unavailable"
		}
		return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, b.Len(), b.String())
	}))
}

const tracedRoutes = `
  - {name: plain, match: {paths: ["/plain", "/fails"]}, upstream: o}
  - name: script
    match: {paths: ["= /script"]}
    lua:
      rewrite: 'ngx.sleep(0.001)'
      access: |
        local sock = ngx.socket.tcp()
        assert(sock:connect("127.0.0.1", ngx.var.arg_port))
        sock:send("GET / HTTP/1.0\r\n\r\n")
        sock:receive()
        local res = ngx.location.capture("/plain/sub")
        ngx.req.set_header("X-Sub", res.status)
      header_filter: 'ngx.header.X = ngx.var.trace_id .. " " .. ngx.var.traceparent'
    upstream: o
  - {name: broken, match: {paths: ["= /broken"]}, lua: {content: 'error("oh")'}}
`

// find is the first span of a name.
func find(t *testing.T, spans []proxytest.Span, name string) proxytest.Span {
	t.Helper()
	at := slices.IndexFunc(spans, func(s proxytest.Span) bool { return s.Name == name })
	if at < 0 {
		t.Fatalf("there is no span %q:\n%s", name, proxytest.Tree(spans))
	}
	return spans[at]
}

func ended(name string) func([]proxytest.Span) bool {
	return func(spans []proxytest.Span) bool {
		return slices.ContainsFunc(spans, func(s proxytest.Span) bool { return s.Name == name })
	}
}

func TestTraces(t *testing.T) {
	for _, protocol := range []string{"http", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			c := proxytest.NewCollector(t, protocol, "127.0.0.1:0")
			o := seeing(t)
			g := proxytest.Start(t, tracedConfig(fmt.Sprintf(
				`{endpoint: "http://%s", protocol: %s, sample: 0%%, interval: 10ms, headers: {x-key: secret}, resource: {zone: a}}`, c.Addr, protocol), o.Addr, tracedRoutes))
			answer := g.Get("/plain/x?a=1", "traceparent", callersParent, "tracestate", "a=1", "baggage", "k=v", "User-Agent", "me")
			spans := c.Wait(t, ended("GET plain"))
			server, client := find(t, spans, "GET plain"), find(t, spans, "GET")
			if server.Trace != callersTrace || server.Parent != "b7ad6b7169203331" || server.Kind != "server" || client.Parent != server.ID || client.Kind != "client" {
				t.Errorf("spans are\n%s%+v\n%+v", proxytest.Tree(spans), server, client)
			}
			if want := fmt.Sprintf("traceparent: 00-%s-%s-01\ntracestate: a=1\nbaggage: k=v\n", callersTrace, client.ID); answer.Body != want {
				t.Errorf("the endpoint got %q, want %q", answer.Body, want)
			}
			for name, want := range map[string]string{
				"http.request.method": "GET", "url.path": "/plain/x", "url.query": "a=1", "url.scheme": "http",
				"http.response.status_code": "200", "server.address": "127.0.0.1", "client.address": "127.0.0.1",
				"network.protocol.version": "1.1", "user_agent.original": "me", "perigee.route": "plain",
			} {
				if got := server.Attributes[name]; got != want {
					t.Errorf("the server's span has %s %q, want %q", name, got, want)
				}
			}
			if client.Attributes["http.response.status_code"] != "200" || client.Attributes["perigee.upstream"] != "o" || client.Attributes["server.port"] == "" {
				t.Errorf("the client's span has %v", client.Attributes)
			}
			if server.Resource["service.name"] != "perigee" || server.Resource["zone"] != "a" || server.State != "a=1" {
				t.Errorf("the resource is %v, the state %q", server.Resource, server.State)
			}
			if server.End.Before(server.Start) || client.Start.Before(server.Start) || client.End.After(server.End) {
				t.Errorf("times are %v to %v with %v to %v inside", server.Start, server.End, client.Start, client.End)
			}
			if protocol == "http" && c.Header("X-Key") != "secret" {
				t.Error("tracing.headers were not sent")
			}
		})
	}
}

// TestTracePhases holds what a trace of a request with scripts looks like.
func TestTracePhases(t *testing.T) {
	c := proxytest.NewCollector(t, "http", "127.0.0.1:0")
	o := seeing(t)
	g := proxytest.Start(t, tracedConfig(fmt.Sprintf(`{endpoint: "http://%s", sample: 100%%, interval: 10ms}`, c.Addr), o.Addr, tracedRoutes))
	_, port, _ := net.SplitHostPort(o.Addr)
	answer := g.Get("/script?port=" + port)
	spans := c.Wait(t, ended("GET script"))
	server := find(t, spans, "GET script")
	if id, parent, _ := strings.Cut(answer.Header.Get("X"), " "); id != server.Trace || parent != "00-"+server.Trace+"-"+server.ID+"-01" {
		t.Errorf("scripts saw %q of %+v", answer.Header.Get("X"), server)
	}
	tree := regexp.MustCompile(`(        socket (read|write) \[client\]\n)+|(    socket (read|write) \[client\]\n)+`).ReplaceAllString(proxytest.Tree(spans), "")
	const want = `GET script [server]
  lua rewrite [internal]
    sleep [internal]
  lua access [internal]
    socket connect [client]
    capture [internal]
      subrequest [internal]
        GET [client]
  GET [client]
  lua header_filter [internal]
`
	if tree != want {
		t.Errorf("the trace is\n%swant\n%s", tree, want)
	}
	if s := find(t, spans, "subrequest"); s.Attributes["perigee.route"] != "plain" || s.Attributes["http.response.status_code"] != "200" {
		t.Errorf("the subrequest's span has %v", s.Attributes)
	}
	g.Get("/broken")
	spans = c.Wait(t, ended("GET broken"))
	if s := find(t, spans, "lua content"); !strings.Contains(s.Failed, "oh") {
		t.Errorf("the failed script's span says %q", s.Failed)
	}
	if s := find(t, spans, "GET broken"); s.Failed != "500" || s.Attributes["error.type"] != "500" || s.Attributes["perigee.error_id"] == "" {
		t.Errorf("the failed request's span says %q, %v", s.Failed, s.Attributes)
	}
	if !g.WaitLog("trace_id: " + find(t, spans, "GET broken").Trace) {
		t.Errorf("the log does not name the trace: %s", g.Log)
	}
}

// TestTraceFieldsOnTheirWay holds what endpoints are told where nothing is
// recorded, whatever clients send.
func TestTraceFieldsOnTheirWay(t *testing.T) {
	o := seeing(t)
	const fresh = `^traceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-00\n$`
	routes := tracedRoutes + `
  - {name: own, match: {paths: ["= /own"]}, lua: {access: 'ngx.req.set_header("traceparent", "mine"); ngx.req.set_header("Baggage", "my=own")'}, upstream: o}
  - {name: reads, match: {paths: ["= /reads"]}, lua: {access: 'ngx.req.set_header("X-Saw", ngx.req.get_headers().traceparent or "")'}, upstream: o}
`
	on := proxytest.Start(t, tracedConfig(`{endpoint: "http://127.0.0.1:1", sample: 0%}`, o.Addr, routes))
	off := proxytest.Start(t, strings.Replace(tracedConfig("", o.Addr, routes), "tracing: \n", "", 1))
	for _, c := range []struct {
		name, path string
		fields     []string
		want       string
	}{
		{"none", "/plain", nil, fresh},
		{"not sampled", "/plain", []string{"traceparent", strings.Replace(callersParent, "-01", "-00", 1), "Tracestate", "a=1", "tracestate", "b=2"},
			"^traceparent: 00-" + callersTrace + `-[0-9a-f]{16}-00` + "\ntracestate: a=1,b=2\n$"},
		{"read by a script", "/reads", []string{"traceparent", strings.Replace(callersParent, "-01", "-00", 1)}, "^traceparent: 00-" + callersTrace + `-[0-9a-f]{16}-00` + "\n$"},
		{"hostile", "/plain", []string{"traceparent", "00-zzz", "tracestate", "a=1"}, fresh},
		{"two", "/plain", []string{"Traceparent", callersParent, "traceparent", callersParent}, fresh},
		{"hostile lists", "/plain", []string{"traceparent", strings.Replace(callersParent, "-01", "-00", 1), "tracestate", "A", "baggage", "a b"},
			"^traceparent: 00-" + callersTrace + `-[0-9a-f]{16}-00` + "\n$"},
		{"a script's own", "/own", []string{"traceparent", callersParent, "baggage", "k=v"}, "^traceparent: mine\nbaggage: my=own\n$"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := on.Get(c.path, c.fields...).Body; !regexp.MustCompile(c.want).MatchString(got) {
				t.Errorf("the endpoint got %q, want %q", got, c.want)
			}
		})
	}
	if got := off.Get("/plain", "traceparent", "00-zzz", "tracestate", "A").Body; got != "traceparent: 00-zzz\ntracestate: A\n" {
		t.Errorf("without tracing the endpoint got %q", got)
	}
	if a := off.Get("/plain"); a.Body != "" {
		t.Errorf("without tracing the endpoint got %q", a.Body)
	}
}

// TestDeadCollector holds that requests are served while nobody takes spans, that
// it is said once, and that spans are sent when there is somebody again.
func TestDeadCollector(t *testing.T) {
	for _, protocol := range []string{"http", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			address := ln.Addr().String()
			_ = ln.Close()
			g := proxytest.Start(t, tracedConfig(fmt.Sprintf(
				`{endpoint: "http://%s", protocol: %s, sample: 100%%, interval: 10ms, timeout: 300ms, queue: 20}`, address, protocol), seeing(t).Addr, tracedRoutes))
			for range 50 {
				if a := g.Get("/plain"); a.StatusCode != 200 {
					t.Fatalf("answer %d while the collector is down", a.StatusCode)
				}
			}
			if !g.WaitLog("takes no spans") {
				t.Fatalf("the log says nothing: %s", g.Log)
			}
			// One that does not answer holds an export until its timeout, and
			// spans come faster than that.
			if ln, err = net.Listen("tcp", address); err != nil {
				t.Fatal(err)
			}
			const dropped = `perigee_trace_spans_total\{outcome="dropped"\} [1-9]`
			for end := time.Now().Add(30 * time.Second); !hasMetric(t, g, dropped) && time.Now().Before(end); {
				for range 50 {
					g.Get("/plain")
				}
			}
			waitMetric(t, g, dropped)
			_ = ln.Close()
			waitMetric(t, g, `perigee_trace_spans_total\{outcome="failed"\} [1-9]`)
			c := proxytest.NewCollector(t, protocol, address)
			c.Wait(t, func(spans []proxytest.Span) bool {
				g.Get("/plain")
				return len(spans) > 0
			})
			if !g.WaitLog("takes spans again") {
				t.Errorf("the log does not say that it is over: %s", g.Log)
			}
			waitMetric(t, g, `perigee_trace_spans_total\{outcome="sent"\} [1-9]`)
			if n := strings.Count(g.Log.String(), "takes no spans"); n != 1 {
				t.Errorf("it was said %d times: %s", n, g.Log)
			}
		})
	}
}

// exposed is what a scrape gets.
func exposed(t *testing.T, g *proxytest.Gateway) string {
	t.Helper()
	var b proxytest.Buffer
	if err := g.WriteMetrics(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func hasMetric(t *testing.T, g *proxytest.Gateway, pattern string) bool {
	t.Helper()
	return regexp.MustCompile("(?m)^" + pattern).MatchString(exposed(t, g))
}

// waitMetric waits until the exposition matches.
func waitMetric(t *testing.T, g *proxytest.Gateway, pattern string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if hasMetric(t, g, pattern) {
			return
		}
	}
	t.Fatalf("no metric is like %s:\n%s", pattern, exposed(t, g))
}

// TestTracingReload holds that a reload keeps the exporter, and that one which
// takes tracing away sends what is left.
func TestTracingReload(t *testing.T) {
	c := proxytest.NewCollector(t, "http", "127.0.0.1:0")
	o := seeing(t)
	with := tracedConfig(fmt.Sprintf(`{endpoint: "http://%s", sample: 100%%, interval: 1h}`, c.Addr), o.Addr, tracedRoutes)
	g := proxytest.Start(t, with)
	g.Get("/plain")
	if err := g.Reload(strings.Replace(with, "sample: 100%", "sample: 0%", 1)); err != nil {
		t.Fatal(err)
	}
	g.Get("/plain")
	if err := g.Reload(regexp.MustCompile(`tracing: .*`).ReplaceAllString(with, "")); err != nil {
		t.Fatal(err)
	}
	spans := c.Wait(t, ended("GET plain"))
	if len(spans) != 2 {
		t.Errorf("of a sampled and another request there are spans\n%s", proxytest.Tree(spans))
	}
	if err := g.Reload(strings.Replace(with, "http://", "ftp://", 1)); err == nil || !strings.Contains(err.Error(), "endpoint") {
		t.Errorf("an endpoint that is none: %v", err)
	}
}

func TestTraceInAccessLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	g := proxytest.Start(t, strings.Replace(tracedConfig(`{endpoint: "http://127.0.0.1:1", sample: 0%}`, seeing(t).Addr, tracedRoutes),
		`access_log: {format: "off"}`, fmt.Sprintf(`access_log: {file: %s, template: "$trace_id $span_id"}`, path), 1))
	g.Get("/plain", "traceparent", callersParent[:53]+"00")
	line := lines(t, path, 1)[0]
	if !regexp.MustCompile("^" + callersTrace + " [0-9a-f]{16}\n$").MatchString(line) {
		t.Errorf("line %q", line)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
