package bench

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/proctest"
	"perigee/proxy/proxytest"
)

// process is a gateway that runs by itself, so that its CPU time is its own.
type process struct {
	*proctest.Group
	pid     int
	clients []*proxytest.RawClient
}

// processConfig has the placeholders port, tracing block, origin.
const processConfig = `
listeners: [{address: "127.0.0.1:%d"}]
workers: 1
log: {level: warn}
admin: {address: "off"}
access_log: {format: "off"}
%s
upstreams: {o: {endpoints: [%q]}}
routes:
  - {name: plain, match: {paths: ["/"]}, upstream: o}
  - name: policy
    match: {paths: ["= /policy"]}
    lua: {access: 'if not ngx.req.get_headers()["x-api-key"] then return ngx.exit(401) end'}
    upstream: o
`

// build makes the real binary.
func build(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "perigee")
	if out, err := exec.Command("go", "build", "-tags", "luajit", "-o", path, "perigee/cmd/perigee").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return path
}

// run starts a gateway and connections to it.
func run(b *testing.B, binary, tracing, origin, path string) *process {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	_ = ln.Close()
	file := filepath.Join(b.TempDir(), "perigee.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, processConfig, port, tracing, origin), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(binary, "run", "-c", file)
	cmd.Stderr = os.Stderr
	b.Cleanup(func() { _ = cmd.Wait() })
	group := proctest.Start(b, cmd)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
			break
		}
		if time.Now().After(end) {
			b.Fatal(err)
		}
	}
	p := &process{Group: group, pid: cmd.Process.Pid}
	for range 8 {
		p.clients = append(p.clients, proxytest.NewRawClient(b, address, "GET "+path+head))
	}
	return p
}

// cpu is what all threads of the process have used.
func (p *process) cpu(b *testing.B) (total time.Duration) {
	b.Helper()
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.pid))
	if err != nil || len(stats) == 0 {
		b.Skip("the kernel keeps no schedstat")
	}
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		ns, _ := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		total += time.Duration(ns)
	}
	return total
}

// round sends n requests on each connection and returns the gateway's CPU time for
// one.
func (p *process) round(b *testing.B, n int) float64 {
	b.Helper()
	before := p.cpu(b)
	var all sync.WaitGroup
	for _, c := range p.clients {
		all.Go(func() {
			for range n {
				if answer, err := c.Round(); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
					b.Errorf("%.200q, %v", answer, err)
					return
				}
			}
		})
	}
	all.Wait()
	return float64(p.cpu(b)-before) / float64(n*len(p.clients)) / 1e3
}

// sets is how many times the processes that are compared are started anew: where
// the memory of one lies makes it faster or slower than its like by a percent.
const sets = 15

// BenchmarkTracing compares the CPU time of a gateway that traces with one that
// does not, in turns, each a process of its own. What counts is the median over
// rounds of the difference within a round: us/op-off is the gateway's time without
// tracing, %-1 and %-0 what sampling of 1% and of nothing adds to it. Run it with
// -benchtime 1x; ROUNDS are 450 unless set, divided among sets of processes.
func BenchmarkTracing(b *testing.B) {
	binary := build(b)
	collector := proxytest.NewCollector(b, "http", "127.0.0.1:0")
	origin := proxytest.RawOrigin(b, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	block := func(share string) string {
		return fmt.Sprintf("tracing: {endpoint: http://%s, sample: %s}", collector.Addr, share)
	}
	rounds := 450
	if n, err := strconv.Atoi(os.Getenv("ROUNDS")); err == nil {
		rounds = n
	}
	for _, path := range []string{"/plain", "/policy"} {
		b.Run(path[1:], func(b *testing.B) {
			var took [3][]float64
			for range sets * b.N {
				var set [3]*process
				for i, tracing := range []string{"", block("0%"), block("1%")} {
					set[i] = run(b, binary, tracing, origin, path)
				}
				warm(b, set, collector)
				compare(b, set, (rounds+sets-1)/sets, &took)
				for _, p := range set {
					p.Kill()
				}
			}
			var unsampled, sampled []float64
			for i, off := range took[0] {
				unsampled = append(unsampled, 100*(took[1][i]-off)/off)
				sampled = append(sampled, 100*(took[2][i]-off)/off)
			}
			b.ReportMetric(median(took[0]), "us/op-off")
			b.ReportMetric(median(unsampled), "%-0")
			b.ReportMetric(median(sampled), "%-1")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// warm sends requests until all is warm, the exporter too.
func warm(b *testing.B, set [3]*process, collector *proxytest.Collector) {
	before := len(collector.Spans())
	for end := time.Now().Add(time.Minute); len(collector.Spans()) == before; {
		compare(b, set, 5, new([3][]float64))
		if time.Now().After(end) {
			b.Fatal("no span was sampled")
		}
	}
}

// compare adds the CPU times that each process of a set took for a request, in each
// round.
func compare(b *testing.B, set [3]*process, rounds int, took *[3][]float64) {
	for i := range rounds {
		for j := range set { // each as often first as last
			at := (i + j) % len(set)
			took[at] = append(took[at], set[at].round(b, 150))
		}
	}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
