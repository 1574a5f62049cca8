package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"perigee/proctest"
)

// binary is perigee, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "perigee-e2e-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "perigee")
	build := exec.Command("go", "build", "-tags", "luajit", "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%s\n%v\n", out, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// running is a gateway's process.
type running struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr *safeBuffer
	exited chan error
	config string
}

// runGateway starts "perigee run" on a configuration text and waits until addr
// takes connections.
func runGateway(t *testing.T, text, addr string, more ...string) *running {
	t.Helper()
	path := filepath.Join(t.TempDir(), "perigee.yaml")
	write(t, path, text)
	r := launch(t, addr, append([]string{"run", "-c", path}, more...)...)
	r.config = path
	return r
}

// launchUnder is runGateway with a command in front that runs the binary as the
// process it was itself.
func launchUnder(t *testing.T, command []string, text, addr string) *running {
	t.Helper()
	path := filepath.Join(t.TempDir(), "perigee.yaml")
	write(t, path, text)
	return launchCommand(t, addr, append(command[1:], binary, "run", "-c", path), command[0])
}

func launch(t *testing.T, addr string, args ...string) *running {
	t.Helper()
	return launchCommand(t, addr, args, binary)
}

func launchCommand(t *testing.T, addr string, args []string, command string) *running {
	t.Helper()
	r := &running{t: t, cmd: exec.Command(command, args...), stderr: &safeBuffer{}, exited: make(chan error, 1)}
	r.cmd.Stderr = r.stderr
	proctest.Start(t, r.cmd)
	go func() { r.exited <- r.cmd.Wait() }()
	waitFor(t, addr)
	return r
}

func waitFor(t *testing.T, addr string) {
	t.Helper()
	for range 500 {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("nobody listens on %s", addr)
}

// end sends a signal and waits for the exit code.
func (r *running) end(s syscall.Signal) int {
	r.t.Helper()
	_ = r.cmd.Process.Signal(s)
	select {
	case err := <-r.exited:
		if err == nil {
			return 0
		}
		return r.cmd.ProcessState.ExitCode()
	case <-time.After(20 * time.Second):
		r.t.Fatal("the process did not end")
		return -1
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// freeAddr is an address nobody listens on right now.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func get(t *testing.T, url string, headers ...string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// nginxOrigin starts Debian's nginx with a site of its own.
func nginxOrigin(t *testing.T) (addr string) {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		t.Fatal("nginx is missing; `make deps-test` installs it")
	}
	addr = freeAddr(t)
	dir, user := t.TempDir(), ""
	if os.Geteuid() == 0 {
		user = "user root;" // its worker could not read the test's folder
	}
	write(t, filepath.Join(dir, "index.html"), "from nginx\n")
	write(t, filepath.Join(dir, "nginx.conf"), fmt.Sprintf(`
%s daemon off; pid nginx.pid; error_log stderr warn; worker_processes 1;
events { worker_connections 256; }
http {
  access_log off; client_body_temp_path body; proxy_temp_path proxy;
  fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  client_max_body_size 0;
  server {
    listen %s;
    location / { root %s; }
    location /teapot { return 418 "short and stout\n"; }
    location /empty { return 204; }
    location /seen { return 200 "$http_x_consumer|$http_x_forwarded_for|$request_method\n"; }
  }
}`, user, addr, dir))
	cmd := exec.Command(path, "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", "stderr")
	var log bytes.Buffer
	cmd.Stderr = &log
	t.Cleanup(func() { _ = cmd.Wait() })
	proctest.Start(t, cmd)
	waitFor(t, addr)
	return addr
}

const site = `
listeners: [{address: %q}]
admin: {address: %q}
access_log: {format: json, file: %q}
drain: {delay: 300ms, timeout: 5s}
lua: {shared_dicts: {d: 64KiB}}
upstreams: {origin: {endpoints: [%q]}}
routes:
  - {name: all, match: {paths: ["/"]}, upstream: origin}
  - name: seen
    match: {paths: ["/seen"]}
    lua: {access: 'ngx.req.set_header("X-Consumer", "lua")'}
    upstream: origin
  - name: hello
    match: {paths: ["= /hello"]}
    lua: {content: 'ngx.say("hello %s")'}
  - name: slow
    match: {paths: ["= /slow"]}
    lua: {content: 'ngx.sleep(0.6) ngx.say("slept")'}
`

func TestProxyToNginx(t *testing.T) {
	origin, addr, adminAddr := nginxOrigin(t), freeAddr(t), freeAddr(t)
	log := filepath.Join(t.TempDir(), "access.log")
	r := runGateway(t, fmt.Sprintf(site, addr, adminAddr, log, origin, "v1"), addr)
	base := "http://" + addr
	for path, want := range map[string]string{
		"/": "200 from nginx\n", "/teapot": "418 short and stout\n", "/empty": "204 ",
		"/missing": "404 ", "/seen": "200 lua|127.0.0.1|GET\n", "/hello": "200 hello v1\n",
	} {
		status, body := get(t, base+path)
		if got := fmt.Sprintf("%d %s", status, body); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	for _, door := range []string{"/healthz", "/readyz", "/metrics", "/config", "/routes", "/upstreams", "/lua", "/"} {
		if status, _ := get(t, "http://"+adminAddr+door); status != 200 {
			t.Errorf("admin %s: %d", door, status)
		}
	}
	if _, metrics := get(t, "http://"+adminAddr+"/metrics"); !strings.Contains(metrics, `perigee_requests_total{route="all",code="418"} 1`) {
		t.Errorf("metrics lack the teapot:\n%.2000s", metrics)
	}
	if code := r.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d after SIGTERM\n%s", code, r.stderr)
	}
	checkAccessLog(t, log)
}

func checkAccessLog(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := 0
	for s := bufio.NewScanner(f); s.Scan(); lines++ {
		var line struct {
			Status   int    `json:"status"`
			Route    string `json:"route"`
			Upstream string `json:"upstream"`
		}
		if err := json.Unmarshal(s.Bytes(), &line); err != nil || line.Status == 0 || line.Route == "" {
			t.Errorf("access line %q: %v", s.Text(), err)
		}
		if (line.Route == "all") != (line.Upstream == "origin" && line.Route == "all") {
			t.Errorf("access line without upstream: %q", s.Text())
		}
	}
	if lines != 6 {
		t.Errorf("%d access lines, want 6", lines)
	}
}

func TestReloadAndDrain(t *testing.T) {
	origin, addr, adminAddr := nginxOrigin(t), freeAddr(t), freeAddr(t)
	text := func(word string) string {
		return fmt.Sprintf(site, addr, adminAddr, filepath.Join(t.TempDir(), "log"), origin, word)
	}
	r := runGateway(t, text("v1"), addr)
	until := func(want string) bool {
		for range 200 {
			if _, body := get(t, "http://"+addr+"/hello"); body == want {
				return true
			}
			time.Sleep(10 * time.Millisecond)
		}
		return false
	}
	write(t, r.config, text("v2"))
	_ = r.cmd.Process.Signal(syscall.SIGHUP)
	if !until("hello v2\n") {
		t.Error("SIGHUP did not apply the new configuration")
	}
	write(t, r.config, text("v3 \") ngx.say((\""))
	res, err := http.Post("http://"+adminAddr+"/reload", "", nil)
	if err != nil || res.StatusCode != 422 {
		t.Fatalf("reload of a broken script: %v %v", res, err)
	}
	why, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if !strings.Contains(string(why), "perigee.yaml:") || !strings.Contains(string(why), "routes[2].lua.content") {
		t.Errorf("the refusal does not say where: %s", why)
	}
	if !until("hello v2\n") {
		t.Error("a refused reload changed what runs")
	}

	slow := make(chan string, 1)
	go func() {
		_, body := get(t, "http://"+addr+"/slow")
		slow <- body
	}()
	time.Sleep(100 * time.Millisecond)
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	time.Sleep(100 * time.Millisecond)
	if status, _ := get(t, "http://"+adminAddr+"/readyz"); status != 503 {
		t.Errorf("readyz while draining: %d, want 503", status)
	}
	if _, body := get(t, "http://"+addr+"/hello"); body != "hello v2\n" {
		t.Errorf("during drain.delay: %q", body)
	}
	if body := <-slow; body != "slept\n" {
		t.Errorf("a request under way got %q", body)
	}
	select {
	case err := <-r.exited:
		if err != nil {
			t.Errorf("exit: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the process did not end")
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("somebody still listens")
	}
}

func TestWatch(t *testing.T) {
	addr := freeAddr(t)
	text := `
listeners: [{address: "` + addr + `"}]
admin: {address: "off"}
access_log: {format: "off"}
routes: [{name: r, match: {paths: ["/"]}, lua: {content: {file: a.lua}}}]
`
	dir := t.TempDir()
	// A ConfigMap: the files are links through a directory that is swapped.
	for _, version := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(dir, version), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, version, "perigee.yaml"), text)
		write(t, filepath.Join(dir, version, "a.lua"), `ngx.say("`+version+`")`)
	}
	link := func(version string) {
		_ = os.Symlink(version, filepath.Join(dir, "next"))
		if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "data")); err != nil {
			t.Fatal(err)
		}
	}
	link("one")
	for _, name := range []string{"perigee.yaml", "a.lua"} {
		if err := os.Symlink(filepath.Join("data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	launch(t, addr, "run", "-watch", "-c", filepath.Join(dir, "perigee.yaml"))
	if _, body := get(t, "http://"+addr); body != "one\n" {
		t.Fatalf("%q", body)
	}
	time.Sleep(1200 * time.Millisecond)
	link("two")
	for range 60 {
		if _, body := get(t, "http://"+addr); body == "two\n" {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Error("the swapped files were not noticed")
}

// TestReloadsUnderLoad reloads a hundred times under wrk: no request may fail.
func TestReloadsUnderLoad(t *testing.T) {
	wrk, err := exec.LookPath("wrk")
	if err != nil {
		t.Fatal("wrk is missing; `make deps-test` installs it")
	}
	origin, addr, adminAddr := nginxOrigin(t), freeAddr(t), freeAddr(t)
	r := runGateway(t, fmt.Sprintf(site, addr, adminAddr, "/dev/null", origin, "v"), addr)
	load := exec.Command(wrk, "-t1", "-c16", "-d7s", "http://"+addr+"/seen")
	var out bytes.Buffer
	load.Stdout = &out
	if err := load.Start(); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		res, err := http.Post("http://"+adminAddr+"/reload", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Fatalf("reload %d: %d\n%s", i, res.StatusCode, r.stderr)
		}
		time.Sleep(40 * time.Millisecond)
	}
	if err := load.Wait(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "Socket errors") || strings.Contains(out.String(), "Non-2xx") {
		t.Errorf("requests failed:\n%s", out.String())
	}
	if !regexp.MustCompile(`[1-9]\d+ requests in`).MatchString(out.String()) {
		t.Errorf("no load:\n%s", out.String())
	}
}

// TestCheckGolden runs the golden broken configurations through the command.
func TestCheckGolden(t *testing.T) {
	files, err := filepath.Glob("../../proxy/config/testdata/broken/*.txtar")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d broken configurations, %v", len(files), err)
	}
	for _, name := range files {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(archive.Comment) > 0 {
			continue // sets the environment: the package's own test
		}
		dir := t.TempDir()
		want := ""
		for _, f := range archive.Files {
			if f.Name == "want" {
				want = string(f.Data)
				continue
			}
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, f.Name)), 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, f.Name), string(f.Data))
		}
		code, _, errs := execute(t, "check", "-c", filepath.Join(dir, "perigee.yaml"))
		errs = strings.ReplaceAll(strings.ReplaceAll(errs, dir+"/", ""), dir, "DIR")
		if code != exitFailed || strings.TrimSpace(errs) != strings.TrimSpace(want) {
			t.Errorf("%s: exit %d\n%s\nwant\n%s", filepath.Base(name), code, errs, want)
		}
	}
}

func execute(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	cmd := exec.Command(binary, args...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

func TestCommands(t *testing.T) {
	path := filepath.Join(t.TempDir(), "perigee.yaml")
	write(t, path, fmt.Sprintf(site, ":18", "off", "-", "127.0.0.1:1", "x"))
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	write(t, bad, strings.Replace(fmt.Sprintf(site, ":18", "off", "-", "127.0.0.1:1", "x"), "ngx.sleep(0.6)", "ngx.sleep(0.6", 1))
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"check", []string{"check", "-c", path}, 0, "good (digest "},
		{"check a script's syntax", []string{"check", "-c", bad}, 1, "bad.yaml:19:20: routes[3].lua.content: Lua: "},
		{"schema", []string{"check", "-schema"}, 0, `"$schema"`},
		{"explain", []string{"explain", "-c", path, "GET", "/hello"}, 0, "route: hello"},
		{"explain a header", []string{"explain", "-c", path, "-H", "Host: a.test", "GET", "/x"}, 0, "upstream: origin"},
		{"version", []string{"version"}, 0, "LuaJIT 2.1"},
		{"no command", nil, 2, "usage:"},
		{"unknown command", []string{"serve"}, 2, `unknown command "serve"`},
		{"run without a file", []string{"run"}, 2, "-c FILE"},
		{"run a missing file", []string{"run", "-c", "/nonexistent"}, 1, "cannot be read"},
	} {
		code, out, errs := execute(t, c.args...)
		if code != c.code || !strings.Contains(out+errs, c.want) {
			t.Errorf("%s: exit %d, %q, want %d with %q", c.name, code, out+errs, c.code, c.want)
		}
	}
	_, schema, _ := execute(t, "check", "-schema")
	if !json.Valid([]byte(schema)) {
		t.Error("the schema is no JSON")
	}
}
