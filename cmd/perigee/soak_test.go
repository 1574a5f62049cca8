package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"perigee/proctest"
)

// A soak asks this of the gateway and wants to see the answer.
var soaked = []struct{ path, body, want string }{
	{"/plain", "", "hello"},
	{"/policy?q=1", "", "hell0"},
	{"/json", `{"list":[1,2,3]}`, `"seen":3`},
	{"/redis", "", "value"},
	{"/threads", "", "15"},
	{"/capture", "", "200 15"},
	{"/stream", "", "1\n2\n3\n4\n5\n"},
}

// Scripts that misbehave; each of their requests is answered 500, nobody else's.
var culprits = []string{"/runaway", "/hog", "/broken", "/pattern", "/runaway"}

// soakTime is how long the soak lasts: SOAK=30m, else a few seconds.
func soakTime(t *testing.T) (d time.Duration, asked bool) {
	text := os.Getenv("SOAK")
	if text == "" {
		return 4 * time.Second, false
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("SOAK=%q: %v", text, err)
	}
	return d, true
}

// soakBinary is the binary that is soaked: SOAK_RACE=1 builds one with the race
// detector.
func soakBinary(t *testing.T) string {
	if os.Getenv("SOAK_RACE") == "" {
		return binary
	}
	path := filepath.Join(t.TempDir(), "perigee-race")
	if out, err := exec.Command("go", "build", "-tags", "luajit", "-race", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%s\n%v", out, err)
	}
	return path
}

// soak is the state of one run.
type soak struct {
	t      *testing.T
	url    string
	client *http.Client
	mu     sync.Mutex
	times  [2][]time.Duration // of answers, without and with culprits about
	failed atomic.Int64
	asked  atomic.Int64
	rough  atomic.Bool // culprits are about
}

// request asks once and compares.
func (s *soak) request(i int) {
	c := soaked[i]
	began := time.Now()
	method := "GET"
	if c.body != "" {
		method = "POST"
	}
	status, body, err := s.do(method, c.path, c.body)
	s.asked.Add(1)
	if err != nil || status != 200 || !strings.Contains(body, c.want) {
		if s.failed.Add(1) < 20 {
			s.t.Errorf("%s: %d %.200q %v", c.path, status, body, err)
		}
		return
	}
	at := 0
	if s.rough.Load() {
		at = 1
	}
	s.mu.Lock()
	s.times[at] = append(s.times[at], time.Since(began))
	s.mu.Unlock()
}

func (s *soak) do(method, path, body string) (status int, text string, err error) {
	req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	res, err := s.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

// quantile is the q-th of the times.
func quantile(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[int(float64(len(times)-1)*q)]
}

// TestSoak runs everything at once, with a culprit each second and a reload now
// and then: nobody else fails, nothing grows. SOAK=30m is the real one.
func TestSoak(t *testing.T) {
	length, asked := soakTime(t)
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	t.Cleanup(origin.Close)
	redis := soakRedis(t)
	listen, admin := freeAddr(t), freeAddr(t)
	text, err := os.ReadFile("testdata/soak.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer("LISTEN", listen, "ADMIN", admin, "ORIGIN", origin.Listener.Addr().String(), "REDIS", redis).Replace(string(text))
	was := binary
	binary = soakBinary(t)
	g := runGateway(t, config, listen)
	binary = was
	s := &soak{t: t, url: "http://" + listen, client: &http.Client{
		Timeout:   20 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: 64},
	}}
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { s.visit(stop) })
	}
	time.Sleep(length / 4)
	first := s.measure(g.cmd.Process.Pid, admin)
	s.rough.Store(true)
	all.Go(func() { s.misbehave(stop) })
	all.Go(func() { s.reload(stop, g, max(time.Second, length/60)) })
	time.Sleep(length * 3 / 4)
	close(stop)
	all.Wait()
	time.Sleep(2 * time.Second) // replaced configurations let go of their VMs
	last := s.measure(g.cmd.Process.Pid, admin)
	t.Logf("%d requests in %v, %d failed; before: %s; after: %s", s.asked.Load(), length, s.failed.Load(), first, last)
	calm, rough := quantile(s.times[0], 0.99), quantile(s.times[1], 0.99)
	t.Logf("p50 %v and %v, p99 %v and %v without and with culprits",
		quantile(s.times[0], 0.5), quantile(s.times[1], 0.5), calm, rough)
	if last.rss > first.rss*3/2+64<<20 {
		t.Error("memory grew")
	}
	if last.goroutines > first.goroutines+50 {
		t.Error("goroutines grew")
	}
	if asked && os.Getenv("SOAK_RACE") == "" && rough > calm+2*5*time.Millisecond+10*time.Millisecond {
		t.Error("culprits slowed the others down")
	}
	if code := g.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, bad := range []string{"DATA RACE", "panic:", "BUG:"} {
		if strings.Contains(g.stderr.String(), bad) {
			t.Errorf("standard error has %q:\n%.4000s", bad, g.stderr)
		}
	}
}

func (s *soak) visit(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
			s.request(rand.IntN(len(soaked)))
			time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond)
		}
	}
}

func (s *soak) misbehave(stop <-chan struct{}) {
	for i := 0; ; i++ {
		path := culprits[i%len(culprits)]
		if status, _, err := s.do("GET", path, ""); err == nil && status != 500 && path != "/pattern" {
			s.t.Errorf("%s is answered %d", path, status)
		}
		select {
		case <-stop:
			return
		case <-time.After(time.Second):
		}
	}
}

func (s *soak) reload(stop <-chan struct{}, g *running, every time.Duration) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(every):
			_ = g.cmd.Process.Signal(syscall.SIGHUP)
		}
	}
}

// holding is what a process holds.
type holding struct{ rss, goroutines int64 }

func (u holding) String() string {
	return fmt.Sprintf("%d MiB, %d goroutines", u.rss>>20, u.goroutines)
}

func (s *soak) measure(pid int, admin string) (u holding) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		s.t.Fatal(err)
	}
	u.rss = 1024 * numberAfter(string(text), "VmRSS:")
	res, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	metrics, _ := io.ReadAll(res.Body)
	u.goroutines = numberAfter(string(metrics), "\ngo_goroutines ")
	return u
}

func numberAfter(text, label string) int64 {
	_, rest, _ := strings.Cut(text, label)
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(fields[0], 10, 64)
	return n
}

// soakRedis starts a redis-server that holds k.
func soakRedis(t *testing.T) (port string) {
	t.Helper()
	_, port, _ = net.SplitHostPort(freeAddr(t))
	cmd := exec.Command("redis-server", "--port", port, "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	t.Cleanup(func() { _ = cmd.Wait() })
	proctest.Start(t, cmd) // make deps-test installs redis-server
	waitFor(t, "127.0.0.1:"+port)
	c, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	return port
}
