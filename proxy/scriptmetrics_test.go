package proxy_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"perigee/proxy/proxytest"
)

// TestScriptMetrics: what several VMs count is one number, in Prometheus' text.
func TestScriptMetrics(t *testing.T) {
	g := proxytest.Start(t, `
workers: 2
listeners: [{address: "127.0.0.1:0"}]
lua:
  init: |
    local metrics = perigee.metrics
    ORDERS = metrics.counter("test_orders_total", "Orders \\ taken,\nby plan.", {"plan", "how"})
    QUEUE = metrics.gauge("test_queue")
    SIZE = metrics.histogram("test_size", nil, {"plan"}, {buckets = {1, 10, 2.5e3}})
    MANY = metrics.counter("test_many_total", nil, {"id"}, {limit = 5})
routes:
  - name: order
    match: {paths: ["/order"]}
    lua:
      content: |
        ORDERS:inc(nil, {ngx.var.arg_plan, 'a "quoted" \\ way'})
        ORDERS:inc(0.5, {"half", 1})
        QUEUE:set(7) QUEUE:inc(2) QUEUE:dec()
        SIZE:observe(ngx.var.arg_size, {"gold"})
        ngx.say("taken")
  - name: many
    match: {paths: ["/many"]}
    lua: {content: 'for i = 1, 1000 do MANY:inc(1, {i}) end ngx.say("many")'}
`)
	var asked sync.WaitGroup
	for range 4 {
		asked.Go(func() {
			for i := range 25 {
				if a := g.Get(fmt.Sprintf("/order?plan=gold&size=%d", i)); a.Body != "taken\n" {
					t.Errorf("%s %s", a.Status, a.Body)
				}
			}
			g.Get("/many")
		})
	}
	asked.Wait()
	var out bytes.Buffer
	if err := g.WriteMetrics(&out); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`# HELP test_orders_total Orders \\ taken, by plan.`,
		`# TYPE test_orders_total counter`,
		`test_orders_total{plan="gold",how="a \"quoted\" \\ way"} 100`,
		`test_orders_total{plan="half",how="1"} 50`,
		`# TYPE test_queue gauge`,
		`test_queue 8`,
		`# TYPE test_size histogram`,
		`test_size_bucket{plan="gold",le="1"} 8`,
		`test_size_bucket{plan="gold",le="10"} 44`,
		`test_size_bucket{plan="gold",le="2500"} 100`,
		`test_size_bucket{plan="gold",le="+Inf"} 100`,
		`test_size_sum{plan="gold"} 1200`,
		`test_size_count{plan="gold"} 100`,
		// Five series, and one for the 995 ids beyond them, four times.
		`test_many_total{id="5"} 4`,
		`test_many_total{id="overflow"} 3980`,
	} {
		if !strings.Contains(out.String(), "\n"+line+"\n") {
			t.Errorf("metrics lack %s", line)
		}
	}
	if n := strings.Count(out.String(), "\ntest_many_total{"); n != 6 {
		t.Errorf("%d series of a metric that may have 5 and one for the rest", n)
	}
}
