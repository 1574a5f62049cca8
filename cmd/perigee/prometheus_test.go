package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"perigee/proctest"
)

// tool finds a program of the distribution, or skips the test.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("there is no %s: run make deps-test", name)
	}
	return path
}

// prometheus is a real one that scrapes a gateway every second.
type prometheus struct {
	t    *testing.T
	addr string
}

func startPrometheus(t *testing.T, target string) *prometheus {
	t.Helper()
	dir, p := t.TempDir(), &prometheus{t: t, addr: freeAddr(t)}
	write(t, filepath.Join(dir, "prometheus.yml"), fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: perigee
    static_configs: [{targets: [%q]}]
`, target))
	out := &safeBuffer{}
	cmd := exec.Command(tool(t, "prometheus"), "--config.file", filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path", filepath.Join(dir, "data"), "--web.listen-address", p.addr)
	cmd.Stdout, cmd.Stderr = out, out
	proctest.Start(t, cmd)
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus: %s", out)
		}
	})
	return p
}

// query asks for the only sample of an expression; false: there is none as yet.
func (p *prometheus) query(expression string) (float64, bool) {
	res, err := http.Get("http://" + p.addr + "/api/v1/query?query=" + url.QueryEscape(expression))
	if err != nil {
		return 0, false
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusServiceUnavailable {
		return 0, false // it is starting
	}
	var answer struct {
		Error string `json:"error"`
		Data  struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Error != "" {
		p.t.Fatalf("%s: %v %s", expression, err, answer.Error)
	}
	if len(answer.Data.Result) != 1 {
		return 0, false
	}
	text, _ := answer.Data.Result[0].Value[1].(string)
	value, err := strconv.ParseFloat(text, 64)
	return value, err == nil
}

// becomes waits until an expression has a value that is right.
func (p *prometheus) becomes(expression string, right func(float64) bool) {
	p.t.Helper()
	var value float64
	var found bool
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if value, found = p.query(expression); found && right(value) {
			return
		}
	}
	p.t.Errorf("%s is %v (found: %v)", expression, value, found)
}

func is(want float64) func(float64) bool { return func(v float64) bool { return v == want } }

const scrapedConfig = `
listeners: [{address: %q}]
admin: {address: %q}
access_log: {format: "off"}
upstreams: {gone: {endpoints: ["127.0.0.1:1"]}}
lua:
  init: |
    ATTACKED = perigee.metrics.counter("shop_orders_total", "Orders by customer.", {"customer"}, {limit = 20})
    SIZES = perigee.metrics.histogram("shop_order_bytes", "Sizes of orders.", nil, {buckets = {10, 100}})
    QUEUE = perigee.metrics.gauge("shop_queue", "Orders that wait.")
routes:
  - {name: hello, match: {paths: ["= /hello"]}, respond: {body: "hello\n"}}
  - {name: gone, match: {paths: ["= /gone"]}, upstream: gone}
  - name: order
    match: {paths: ["= /order"]}
    lua:
      content: |
        ATTACKED:inc(1, {ngx.var.arg_who})
        SIZES:observe(50)
        QUEUE:set(7)
        ngx.print("taken")
  - {name: fails, match: {paths: ["= /fails"]}, lua: {content: 'error("no")'}}
`

// TestPrometheus has a real Prometheus scrape a gateway and asks it what it knows,
// while clients try to make series of their own and while scrapes get stuck.
func TestPrometheus(t *testing.T) {
	tool(t, "prometheus")
	addr, adminAddr := freeAddr(t), freeAddr(t)
	runGateway(t, fmt.Sprintf(scrapedConfig, addr, adminAddr), addr)
	ask := func(path string) {
		t.Helper()
		res, err := http.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
	stick(t, adminAddr)
	p := startPrometheus(t, adminAddr)
	for range 10 {
		ask("/hello")
	}
	for range 3 {
		ask("/gone")
		ask("/fails")
	}
	for i := range 200 { // a label for each, if anybody let them
		ask(fmt.Sprintf("/order?who=%d%%22%%0a", i))
		ask(fmt.Sprintf("/no/such/%d", i))
	}
	p.becomes(`up`, is(1))
	p.becomes(`perigee_requests_total{route="hello",code="200"}`, is(10))
	p.becomes(`perigee_requests_total{route="gone",code="502"}`, is(3))
	p.becomes(`perigee_requests_total{route="-",code="404"}`, is(200))
	p.becomes(`count(count by (route) (perigee_requests_total))`, is(5))
	p.becomes(`sum(perigee_upstream_requests_total{upstream="gone"})`, is(3))
	p.becomes(`perigee_request_duration_seconds_count{route="hello"}`, is(10))
	p.becomes(`histogram_quantile(0.99, perigee_request_duration_seconds_bucket{route="hello"})`, func(v float64) bool { return v > 0 && v < 60 })
	p.becomes(`perigee_lua_errors_total{script="fails/content",kind="runtime"}`, is(3))
	p.becomes(`perigee_lua_run_seconds_count{script="order/content"}`, is(200))
	p.becomes(`perigee_inflight_requests`, is(0))
	p.becomes(`perigee_saturation_ratio`, func(v float64) bool { return v >= 0 && v <= 1 })
	p.becomes(`count(shop_orders_total)`, is(21))
	p.becomes(`sum(shop_orders_total)`, is(200))
	p.becomes(`shop_orders_total{customer="overflow"}`, is(180))
	p.becomes(`shop_order_bytes_bucket{le="100"}`, is(200))
	p.becomes(`shop_queue`, is(7))
	p.becomes(`perigee_lua_vm_memory_bytes > bool 0`, is(1))
	p.becomes(`count(perigee_config_digest_info)`, is(1))
	p.becomes(`go_goroutines > bool 0`, is(1))
	ask("/hello") // who scrapes, and who does not read, keeps nobody waiting
	p.becomes(`perigee_requests_total{route="hello",code="200"}`, is(11))
	p.becomes(`scrape_samples_scraped < bool 1000`, is(1))
}

// stick makes scrapes whose answers nobody reads.
func stick(t *testing.T, addr string) {
	t.Helper()
	for range 20 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.(*net.TCPConn).SetReadBuffer(1024)
		if _, err := io.WriteString(c, strings.Repeat("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 200)); err != nil {
			return // it takes no more
		}
	}
}

// TestPromtool has the exposition checked by Prometheus's own tool.
func TestPromtool(t *testing.T) {
	promtool := tool(t, "promtool")
	addr, adminAddr := freeAddr(t), freeAddr(t)
	runGateway(t, fmt.Sprintf(scrapedConfig, addr, adminAddr), addr)
	for _, path := range []string{"/hello", "/gone", "/order?who=a", "/fails", "/none"} {
		get(t, "http://"+addr+path)
	}
	_, metrics := get(t, "http://"+adminAddr+"/metrics")
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(metrics)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) { // 3: lints alone
		t.Fatalf("promtool check metrics: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		// These names of the Go runtime's metrics are their library's.
		if name, _, _ := strings.Cut(line, " "); strings.HasPrefix(name, "go_") && strings.HasSuffix(name, "_count") {
			continue
		}
		t.Errorf("promtool check metrics: %s", line)
	}
}
