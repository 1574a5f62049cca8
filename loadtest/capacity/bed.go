package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-json"
)

// Addresses of what is started, free when the program begins.
var originAddr, gatewayAddr, adminAddr = freeAddr(), freeAddr(), freeAddr()

func freeAddr() string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:0"
	}
	defer ln.Close()
	return ln.Addr().String()
}

// bed starts, loads and ends gateways.
type bed struct {
	seconds, rounds int
	k6              string
}

// row is one measurement.
type row struct {
	setting   string
	perSecond float64
	p50, p99  time.Duration
	cpuMicros float64
	cores     float64
	rss       int64
}

// load is what is asked of a gateway.
type load struct {
	setting     string
	connections int
	path        string
	script      string   // wrk's; "": report.lua
	config      string   // "": loadtest/perigee.yaml
	env         []string // of the gateway
}

// measure measures the sections whose titles match only, and the rest if it is nil.
func (b *bed) measure(idle int, only *regexp.Regexp) (*report, error) {
	origin := exec.Command("bin/origin", "-listen", originAddr)
	if err := origin.Start(); err != nil {
		return nil, fmt.Errorf("%w: make build, and go build -o bin/origin ./loadtest/origin", err)
	}
	defer end(origin)
	for range 100 {
		if exec.Command("bin/perigee", "healthcheck", "http://"+originAddr+"/").Run() == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	r := newReport()
	wanted := func(title string) bool { return only == nil || only.MatchString(title) }
	for _, s := range sections() {
		if !wanted(s.title) {
			continue
		}
		var rows []row
		for _, l := range s.loads {
			measured, err := b.run(l)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", s.title, l.setting, err)
			}
			rows = append(rows, measured)
		}
		r.section(s.title, s.setting, rows)
	}
	for _, g := range growths() {
		if !wanted(g.title) {
			continue
		}
		if err := b.grow(r, g); err != nil {
			return nil, err
		}
	}
	if wanted(memoryTitle) {
		if err := b.memory(r, idle); err != nil {
			return nil, err
		}
	}
	return r, b.withinSLO(r)
}

// section is a table of the report: the same gateway in several settings.
type section struct {
	title, setting string
	loads          []load
}

func sections() []section {
	return []section{
		{"Kinds of routes", "route", []load{
			{setting: "proxied", connections: 32, path: "/"},
			{setting: "proxied, Lua in the path", connections: 32, path: "/policy/", script: "headers.lua"},
			{setting: "Lua alone", connections: 32, path: "/lua"},
			{setting: "a limit", connections: 32, path: "/limited"},
		}},
		{"Connections", "connections", sweep([]int{1, 10, 100, 1000}, func(n int) load {
			return load{connections: n, path: "/"}
		})},
		{"Bodies", "bytes", sweep([]int{0, 1 << 10, 16 << 10, 256 << 10, 1 << 20}, func(n int) load {
			return load{connections: 16, path: "/bytes/" + strconv.Itoa(n)}
		})},
		{"Scripts", "scripts", sweep([]int{0, 1, 2, 3, 4, 5}, func(n int) load {
			return load{connections: 32, path: "/", config: withScripts(n)}
		})},
		{"Routes", "routes", sweep([]int{10, 100, 1000}, func(n int) load {
			return load{connections: 32, path: fmt.Sprintf("/r%d/", n-1), config: manyRoutes(0, n)}
		})},
		{"Cores", "GOMAXPROCS", sweep(cores(), func(n int) load {
			return load{connections: 32, path: "/", env: []string{"GOMAXPROCS=" + strconv.Itoa(n)}}
		})},
	}
}

func sweep(values []int, of func(int) load) (loads []load) {
	for _, n := range values {
		l := of(n)
		l.setting = strconv.Itoa(n)
		loads = append(loads, l)
	}
	return loads
}

// cores are the powers of two up to what there is.
func cores() (counts []int) {
	for n := 1; n <= runtime.NumCPU(); n *= 2 {
		counts = append(counts, n)
	}
	return counts
}

// start starts a gateway and waits until it serves.
func (b *bed) start(config string, env []string) (*exec.Cmd, error) {
	path := "loadtest/perigee.yaml"
	if config != "" {
		dir, err := os.MkdirTemp("", "capacity-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir) // it is read once
		path = filepath.Join(dir, "perigee.yaml")
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command("bin/perigee", "run", "-c", path)
	cmd.Env = append(append(os.Environ(), env...),
		"LOAD_LISTEN="+gatewayAddr, "LOAD_ADMIN="+adminAddr, "LOAD_ORIGIN="+originAddr)
	return cmd, serve(cmd, "http://"+adminAddr+"/readyz")
}

// serve starts cmd and waits until url answers with success.
func serve(cmd *exec.Cmd, url string) error {
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		return err
	}
	for range 600 {
		if exec.Command("bin/perigee", "healthcheck", url).Run() == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	end(cmd)
	return fmt.Errorf("%s is not ready: %s does not answer with success: %s", cmd.Path, url, log.String())
}

func end(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait()
}

// run loads a fresh gateway with wrk.
func (b *bed) run(l load) (row, error) {
	gateway, err := b.start(l.config, l.env)
	if err != nil {
		return row{}, err
	}
	defer end(gateway)
	script := "report.lua"
	if l.script != "" {
		script = l.script
	}
	wrk := func(seconds int) ([]byte, error) {
		return exec.Command("wrk", "-t1", "-c", strconv.Itoa(l.connections), "-d", strconv.Itoa(seconds)+"s",
			"-s", "loadtest/wrk/"+script, "http://"+gatewayAddr+l.path).Output()
	}
	if _, err := wrk(1); err != nil { // compiles what is hot
		return row{}, err
	}
	before, begin := cpuTime(gateway.Process.Pid), time.Now()
	text, err := wrk(b.seconds)
	if err != nil {
		return row{}, err
	}
	used, passed := cpuTime(gateway.Process.Pid)-before, time.Since(begin)
	result, err := wrkSaid(text)
	if err != nil {
		return row{}, err
	}
	if result.Broken > 0 || result.Status > 0 && l.path != "/limited" {
		return row{}, fmt.Errorf("%d connections broke, %d answers are no success", result.Broken, result.Status)
	}
	return row{
		setting: l.setting, perSecond: result.PerSecond,
		p50: time.Duration(result.P50) * time.Microsecond, p99: time.Duration(result.P99) * time.Microsecond,
		cpuMicros: float64(used.Microseconds()) / float64(result.Requests),
		cores:     used.Seconds() / passed.Seconds(), rss: residentBytes(gateway.Process.Pid),
	}, nil
}

// wrkResult is the line that wrk/report.lua writes.
type wrkResult struct {
	Requests  int     `json:"requests"`
	PerSecond float64 `json:"per_second"`
	P50       int     `json:"p50_us"`
	P99       int     `json:"p99_us"`
	Broken    int     `json:"broken"`
	Status    int     `json:"not_2xx_3xx"`
}

func wrkSaid(text []byte) (result wrkResult, err error) {
	line := text[bytes.LastIndex(bytes.TrimSpace(text), []byte("\n"))+1:]
	if err := json.Unmarshal(line, &result); err != nil || result.Requests == 0 {
		return result, fmt.Errorf("wrk says %q: %v", text, err)
	}
	return result, nil
}

// withinSLO looks for the highest rate whose thresholds hold, to a tenth.
func (b *bed) withinSLO(r *report) error {
	if b.k6 == "" {
		return nil
	}
	gateway, err := b.start("", nil)
	if err != nil {
		return err
	}
	defer end(gateway)
	holds := func(rate int) bool {
		cmd := exec.Command(b.k6, "run", "--quiet", "--no-usage-report", "-e", "RATE="+strconv.Itoa(rate),
			"-e", "DURATION="+strconv.Itoa(b.seconds)+"s",
			"-e", "TARGET=http://"+gatewayAddr, "loadtest/scenarios/steady.js")
		return cmd.Run() == nil
	}
	good, bad := 0, 100
	for bad <= 1<<20 && holds(bad) {
		good, bad = bad, bad*2
	}
	for bad-good > max(bad/10, 10) {
		if middle := (good + bad) / 2; holds(middle) {
			good = middle
		} else {
			bad = middle
		}
	}
	fmt.Fprintf(&r.text, "\n## Within the SLO\n\nscenarios/steady.js keeps its thresholds up to %d requests/s, and not at %d. k6 itself takes\nmost of the CPU: this is a lower bound of what the gateway carries.\n", good, bad)
	return nil
}

// cpuTime is what a process has used, from /proc/PID/stat.
func cpuTime(pid int) time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // a hundred ticks a second
}

func residentBytes(pid int) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if fields := strings.Fields(string(text)); len(fields) > 1 {
		pages, _ := strconv.ParseInt(fields[1], 10, 64)
		return pages * int64(os.Getpagesize())
	}
	return 0
}
