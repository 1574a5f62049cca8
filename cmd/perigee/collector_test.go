package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"perigee/proctest"
)

// startCollector starts the real OpenTelemetry Collector that OTELCOL names, with
// OTLP over HTTP and gRPC in and its debug exporter out.
func startCollector(t *testing.T, http, grpc string) (*safeBuffer, *exec.Cmd) {
	t.Helper()
	config := fmt.Sprintf(`receivers: {otlp: {protocols: {http: {endpoint: %q}, grpc: {endpoint: %q}}}}
exporters: {debug: {verbosity: detailed}}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    traces: {receivers: [otlp], exporters: [debug]}
    logs: {receivers: [otlp], exporters: [debug]}
`, http, grpc)
	out := &safeBuffer{}
	cmd := exec.Command(os.Getenv("OTELCOL"), "--config", "yaml:"+config)
	cmd.Stderr, cmd.Stdout = out, out
	t.Cleanup(func() { _ = cmd.Wait() })
	proctest.Start(t, cmd)
	for end := time.Now().Add(60 * time.Second); !strings.Contains(out.String(), "Everything is ready"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the collector is not ready:\n%s", out)
		}
	}
	return out, cmd
}

// await waits until what was written has text.
func (s *safeBuffer) await(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !strings.Contains(s.String(), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("nobody said %q:\n%s", text, s)
		}
	}
}

// TestCollector sends traces to a real OpenTelemetry Collector, over HTTP and over
// gRPC, and again after it has been away. make e2e-otel builds the collector.
func TestCollector(t *testing.T) {
	if os.Getenv("OTELCOL") == "" {
		t.Skip("OTELCOL names no collector: run make e2e-otel")
	}
	for _, protocol := range []string{"http", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			addresses := map[string]string{"http": freeAddr(t), "grpc": freeAddr(t)}
			out, collector := startCollector(t, addresses["http"], addresses["grpc"])
			origin, addr := freeAddr(t), freeAddr(t)
			server := &http.Server{Addr: origin, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(
				func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("traceparent")) })}
			go func() { _ = server.ListenAndServe() }()
			t.Cleanup(func() { _ = server.Close() })
			waitFor(t, origin)
			g := runGateway(t, fmt.Sprintf(`
listeners: [{address: %q}]
admin: {address: "off"}
access_log: {format: "off"}
tracing: {endpoint: "http://%s", protocol: %s, sample: 100%%, interval: 50ms, timeout: 1s}
upstreams: {o: {endpoints: [%q]}}
routes:
  - {name: orders, match: {paths: ["/"]}, lua: {access: 'ngx.sleep(0.001)'}, upstream: o}
`, addr, addresses[protocol], protocol, origin), addr)
			get := func() string {
				res, err := http.Get("http://" + addr + "/x")
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				var b bytes.Buffer
				_, _ = b.ReadFrom(res.Body)
				return b.String()
			}
			seen := regexp.MustCompile(`^00-([0-9a-f]{32})-([0-9a-f]{16})-01$`).FindStringSubmatch(get())
			if seen == nil {
				t.Fatal("the endpoint got no traceparent")
			}
			out.await(t, seen[1])
			out.await(t, seen[2])
			for _, text := range []string{
				"service.name: Str(perigee)", ": GET orders\n", ": lua access\n", ": sleep\n", "http.response.status_code: Int(200)",
			} {
				out.await(t, text)
			}
			_ = collector.Process.Kill()
			_ = collector.Wait()
			for end := time.Now().Add(60 * time.Second); !strings.Contains(g.stderr.String(), "takes no spans"); {
				if get(); time.Now().After(end) {
					t.Fatalf("nothing was said of the collector's end:\n%s", g.stderr)
				}
			}
			again, _ := startCollector(t, addresses["http"], addresses["grpc"])
			for end := time.Now().Add(60 * time.Second); !strings.Contains(again.String(), ": GET orders\n"); get() {
				if time.Now().After(end) {
					t.Fatalf("nothing came after the collector was back:\n%s", g.stderr)
				}
			}
		})
	}
}
