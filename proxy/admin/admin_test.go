package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"perigee/proxy/observe"
)

// fake is a gateway whose answers a test sets.
type fake struct {
	mu        sync.Mutex
	why       string // not ready because
	masked    string
	configErr error
	reloadErr error
	reloads   int
	reloading func(context.Context)
	routes    []observe.RouteInfo
	upstreams []observe.UpstreamInfo
	info      observe.LuaInfo
}

func (f *fake) Ready() (bool, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.why == "", f.why
}

func (f *fake) WriteMetrics(w io.Writer) error {
	_, err := io.WriteString(w, "# TYPE perigee_x gauge\nperigee_x 1\n")
	return err
}

func (f *fake) Config() ([]byte, error) { return []byte(f.masked), f.configErr }

func (f *fake) Digest() string {
	if f.masked == "" {
		return ""
	}
	return "d1"
}

func (f *fake) Routes() []observe.RouteInfo       { return f.routes }
func (f *fake) Upstreams() []observe.UpstreamInfo { return f.upstreams }
func (f *fake) Lua() observe.LuaInfo              { return f.info }
func (f *fake) Limits() observe.LimitsInfo        { return observe.LimitsInfo{} }
func (f *fake) ResetLimit(name, id string) bool   { return name == "l" && id == "1" }

func (f *fake) Reload(ctx context.Context) error {
	if f.reloading != nil {
		f.reloading(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reloads++
	return f.reloadErr
}

func (f *fake) set(change func(*fake)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// started runs both listeners for a test.
func started(t *testing.T, gateway Gateway) *Server {
	t.Helper()
	s, err := Start(Options{Address: "127.0.0.1:0", Probes: "127.0.0.1:0", Hosts: []string{"Ops.example"}}, gateway)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// answer is a response with its body read.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends one request; fields are "Name: value", Host included.
func ask(t *testing.T, method, url string, fields ...string) answer {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		if name == "Host" {
			r.Host = value
		} else {
			r.Header.Set(name, value)
		}
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func TestDoors(t *testing.T) {
	gateway := &fake{masked: "admin: {}\n"}
	s := started(t, gateway)
	full, probes := "http://"+s.Addr(), "http://"+s.ProbesAddr()
	for _, c := range []struct {
		method, url string
		status      int
		contains    string
	}{
		{"GET", full + "/", 200, "/debug/pprof/"},
		{"GET", full + "/healthz", 200, "ok\n"},
		{"HEAD", full + "/healthz", 200, ""},
		{"GET", full + "/readyz", 200, "ready\nconfig d1\n"},
		{"GET", full + "/metrics", 200, "perigee_x 1\n"},
		{"GET", full + "/config", 200, "admin: {}\n"},
		{"GET", full + "/routes", 200, "[]\n"},
		{"GET", full + "/upstreams", 200, "[]\n"},
		{"GET", full + "/lua", 200, `"vms": []`},
		{"GET", full + "/debug/pprof/", 200, "goroutine"},
		{"GET", full + "/debug/pprof/goroutine?debug=1", 200, "goroutine profile"},
		{"GET", full + "/debug/pprof/cmdline", 200, "admin.test"},
		{"POST", full + "/reload", 200, "reloaded\nconfig d1\n"},
		{"GET", full + "/reload", 405, ""},
		{"DELETE", full + "/config", 405, ""},
		{"POST", full + "/metrics", 405, ""},
		{"GET", full + "/nothing", 404, ""},
		{"GET", probes + "/healthz", 200, "ok\n"},
		{"GET", probes + "/readyz", 200, "ready\n"},
		{"GET", probes + "/metrics", 200, "perigee_x 1\n"},
		{"GET", probes + "/", 404, ""},
		{"GET", probes + "/config", 404, ""},
		{"GET", probes + "/lua", 404, ""},
		{"POST", probes + "/reload", 404, ""},
		{"GET", probes + "/debug/pprof/", 404, ""},
	} {
		got := ask(t, c.method, c.url)
		if got.status != c.status || !strings.Contains(got.body, c.contains) {
			t.Errorf("%s %s: %d %q, want %d with %q", c.method, c.url, got.status, got.body, c.status, c.contains)
		}
		for name := range got.header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s %s: answers with %s", c.method, c.url, name)
			}
		}
		if got.header.Get("X-Content-Type-Options") != "nosniff" || got.header.Get("Cache-Control") == "" {
			t.Errorf("%s %s: browsers may guess or keep the answer: %v", c.method, c.url, got.header)
		}
	}
	if gateway.reloads != 1 {
		t.Errorf("%d reloads", gateway.reloads)
	}
	for url, kind := range map[string]string{
		"/metrics": observe.ContentType, "/config": "application/yaml; charset=utf-8",
		"/routes": "application/json", "/": "text/html; charset=utf-8", "/readyz": "text/plain; charset=utf-8",
	} {
		if got := ask(t, "GET", full+url).header.Get("Content-Type"); got != kind {
			t.Errorf("%s is %q, want %q", url, got, kind)
		}
	}
	if got := ask(t, "GET", full+"/config").header.Get(DigestHeader); got != "d1" {
		t.Errorf("digest header %q", got)
	}
}

func TestReadinessFollowsTheGateway(t *testing.T) {
	gateway := &fake{why: "starting"}
	s := started(t, gateway)
	got := ask(t, "GET", "http://"+s.ProbesAddr()+"/readyz")
	if got.status != 503 || got.body != "not ready: starting\n" {
		t.Errorf("starting: %d %q", got.status, got.body)
	}
	if got := ask(t, "GET", "http://"+s.Addr()+"/config"); got.status != 503 {
		t.Errorf("/config before one runs: %d", got.status)
	}
	gateway.set(func(f *fake) { f.why, f.masked = "", "x: 1\n" })
	if got := ask(t, "GET", "http://"+s.ProbesAddr()+"/readyz"); got.status != 200 {
		t.Errorf("running: %d", got.status)
	}
	gateway.set(func(f *fake) { f.why = "draining" })
	got = ask(t, "GET", "http://"+s.ProbesAddr()+"/readyz")
	if got.status != 503 || got.body != "not ready: draining\nconfig d1\n" {
		t.Errorf("draining: %d %q", got.status, got.body)
	}
	if got := ask(t, "GET", "http://"+s.ProbesAddr()+"/healthz"); got.status != 200 {
		t.Errorf("a draining process lives, but /healthz is %d", got.status)
	}
}

func TestReloadOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		err      error
		status   int
		contains string
	}{
		"applied": {nil, 200, "config d1"},
		"invalid": {errors.New("perigee.yaml:3:5: unknown key \"rout\", did you mean \"routes\"?"), 422, "perigee.yaml:3:5: unknown key"},
		"running": {fmt.Errorf("reload: %w", observe.ErrReloading), 409, "another reload"},
	} {
		s := started(t, &fake{masked: "x: 1\n", reloadErr: c.err})
		got := ask(t, "POST", "http://"+s.Addr()+"/reload")
		if got.status != c.status || !strings.Contains(got.body, c.contains) || got.header.Get(DigestHeader) != "d1" {
			t.Errorf("%s: %d %q", name, got.status, got.body)
		}
	}
}

func TestHangingUpDoesNotStopAReload(t *testing.T) {
	entered, end := make(chan struct{}), make(chan error, 1)
	gateway := &fake{masked: "x: 1\n", reloading: func(ctx context.Context) {
		close(entered)
		select {
		case <-ctx.Done():
			end <- ctx.Err()
		case <-time.After(100 * time.Millisecond):
			end <- nil
		}
	}}
	s := started(t, gateway)
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
	<-entered
	conn.Close()
	if err := <-end; err != nil {
		t.Errorf("the reload was stopped: %v", err)
	}
}

func TestForeignPagesAreRefused(t *testing.T) {
	gateway := &fake{masked: "x: 1\n"}
	s := started(t, gateway)
	full := "http://" + s.Addr()
	for name, c := range map[string]struct {
		method, path string
		fields       []string
		status       int
	}{
		"a tool":                    {"POST", "/reload", nil, 200},
		"the page's button":         {"POST", "/reload", []string{"Sec-Fetch-Site: same-origin", "Origin: " + full}, 200},
		"typed by the user":         {"POST", "/reload", []string{"Sec-Fetch-Site: none"}, 200},
		"a foreign form":            {"POST", "/reload", []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, 403},
		"a sibling site":            {"POST", "/reload", []string{"Sec-Fetch-Site: same-site"}, 403},
		"an old browser's form":     {"POST", "/reload", []string{"Origin: https://evil.example"}, 403},
		"a sandboxed frame":         {"POST", "/reload", []string{"Origin: null"}, 403},
		"another local port":        {"POST", "/reload", []string{"Origin: http://127.0.0.1:1"}, 403},
		"a rebound name":            {"GET", "/config", []string{"Host: evil.example"}, 421},
		"a rebound name with port":  {"POST", "/reload", []string{"Host: evil.example:9901", "Origin: http://evil.example:9901"}, 421},
		"a name like an address":    {"GET", "/config", []string{"Host: 127.0.0.1.evil.example"}, 421},
		"a name below localhost":    {"GET", "/config", []string{"Host: localhost.evil.example"}, 421},
		"localhost":                 {"GET", "/config", []string{"Host: LocalHost:9901"}, 200},
		"IPv4":                      {"GET", "/config", []string{"Host: 10.0.0.1"}, 200},
		"IPv6":                      {"GET", "/config", []string{"Host: [::1]:9901"}, 200},
		"IPv6 without port":         {"GET", "/config", []string{"Host: [::1]"}, 200},
		"the configured name":       {"GET", "/config", []string{"Host: ops.example.:9901"}, 200},
		"reading from another site": {"GET", "/metrics", []string{"Sec-Fetch-Site: cross-site"}, 200},
	} {
		before := gateway.reloads
		got := ask(t, c.method, full+c.path, c.fields...)
		if got.status != c.status {
			t.Errorf("%s: %d %q, want %d", name, got.status, got.body, c.status)
		}
		if (gateway.reloads > before) != (c.method == "POST" && c.status == 200) {
			t.Errorf("%s: reloads went from %d to %d", name, before, gateway.reloads)
		}
	}
	if got := ask(t, "GET", "http://"+s.ProbesAddr()+"/metrics", "Host: perigee.default.svc"); got.status != 200 {
		t.Errorf("probes by a service's name: %d", got.status)
	}
}

func TestBodiesAreRefusedUnread(t *testing.T) {
	t.Parallel()
	gateway := &fake{masked: "x: 1\n"}
	s := started(t, gateway)
	for name, framing := range map[string]string{"length": "Content-Length: 1000000", "chunked": "Transfer-Encoding: chunked"} {
		conn, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "POST /reload HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n", framing)
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(all), "HTTP/1.1 413 ") {
			t.Errorf("%s: %q, %v", name, all, err)
		}
		conn.Close()
	}
	if gateway.reloads != 0 {
		t.Error("reloaded")
	}
}

func TestStatusAsJSON(t *testing.T) {
	gateway := &fake{
		routes:    []observe.RouteInfo{{Name: "orders", Paths: []string{"/orders/"}, Filters: []string{"access/script"}, Requests: 3}},
		upstreams: []observe.UpstreamInfo{{Name: "orders", Endpoints: []observe.EndpointInfo{{Address: "127.0.0.1:1", LastError: "refused"}}}, {Name: "empty"}},
		info:      observe.LuaInfo{Scripts: []observe.ScriptInfo{{Name: "fast", P99Seconds: 0.001}, {Name: "slow", P99Seconds: 0.1}, {Name: "often", P99Seconds: 0.001, TotalSeconds: 9}}},
	}
	s := started(t, gateway)
	get := func(path string, into any) {
		t.Helper()
		got := ask(t, "GET", "http://"+s.Addr()+path)
		if err := json.Unmarshal([]byte(got.body), into); err != nil {
			t.Fatalf("%s: %v in %s", path, err, got.body)
		}
		if strings.Contains(got.body, "null") {
			t.Errorf("%s has a null: %s", path, got.body)
		}
	}
	var routes []observe.RouteInfo
	get("/routes", &routes)
	if len(routes) != 1 || routes[0].Filters[0] != "access/script" || routes[0].Requests != 3 {
		t.Errorf("routes: %+v", routes)
	}
	var upstreams []observe.UpstreamInfo
	get("/upstreams", &upstreams)
	if len(upstreams) != 2 || upstreams[0].Endpoints[0].LastError != "refused" {
		t.Errorf("upstreams: %+v", upstreams)
	}
	var lua observe.LuaInfo
	get("/lua", &lua)
	order := ""
	for _, script := range lua.Scripts {
		order += script.Name + " "
	}
	if order != "slow often fast " {
		t.Errorf("scripts in order %q", order)
	}
	if gateway.info.Scripts[0].Name != "fast" {
		t.Error("the gateway's own slice was sorted")
	}
}

func TestLimitsAreReset(t *testing.T) {
	s := started(t, &fake{})
	for path, want := range map[string]int{
		"/limits/reset?limit=l&id=1": 200, "/limits/reset?limit=l&id=2": 404, "/limits/reset?limit=l": 400,
	} {
		res, err := http.Post("http://"+s.Addr()+path, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, res.StatusCode, want)
		}
	}
}

func TestPageEscapesWhatItShows(t *testing.T) {
	gateway := &fake{why: "<script>1</script>", routes: []observe.RouteInfo{{Name: "<b>r</b>"}},
		upstreams: []observe.UpstreamInfo{{Name: "u", Endpoints: []observe.EndpointInfo{{LastError: "<i>"}}}}}
	s := started(t, gateway)
	got := ask(t, "GET", "http://"+s.Addr()+"/")
	for _, raw := range []string{"<script>", "<b>r</b>", "<i>"} {
		if strings.Contains(got.body, raw) {
			t.Errorf("%s in the page", raw)
		}
	}
	if !strings.Contains(got.header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
		t.Error("the page may be framed")
	}
	if strings.Contains(got.body, "src=") || strings.Contains(got.body, "http:") || strings.Contains(got.body, "https:") {
		t.Error("the page loads something")
	}
}

func TestConfigThatCannotBeShown(t *testing.T) {
	s := started(t, &fake{configErr: errors.New("secret detail")})
	got := ask(t, "GET", "http://"+s.Addr()+"/config")
	if got.status != 500 || strings.Contains(got.body, "secret detail") {
		t.Errorf("%d %q", got.status, got.body)
	}
}
