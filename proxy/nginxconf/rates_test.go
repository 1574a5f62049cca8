package nginxconf_test

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/proctest"
	"perigee/proxy/nginxconf"
	"perigee/proxy/proxytest"
)

const ratesConf = `
%[1]s daemon off; pid nginx.pid; worker_processes 1;
events { worker_connections 256; }
http {
  access_log off; client_body_temp_path b; proxy_temp_path p;
  fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  limit_req_zone $http_x_key zone=slow:1m rate=1r/m;
  limit_req_zone $http_x_key zone=steps:1m rate=6r/m;
  limit_req_zone $http_x_key zone=other:1m rate=1r/m;
  limit_req_zone $http_x_key zone=dry:1m rate=1r/m;
  limit_conn_zone $http_x_key zone=conns:1m;
  server {
    listen %[2]s;
    root %[3]s;
    location = /none { limit_req zone=slow; try_files /index.html =404; }
    location = /burst { limit_req zone=slow burst=4 nodelay; try_files /index.html =404; }
    location = /wait { limit_req zone=steps burst=1; try_files /index.html =404; }
    location = /some { limit_req zone=steps burst=3 delay=2; try_files /index.html =404; }
    location = /both { limit_req zone=other burst=9 nodelay; limit_req zone=slow burst=2 nodelay; limit_req_status 429; try_files /index.html =404; }
    location = /dry { limit_req zone=dry; limit_req_dry_run on; try_files /index.html =404; }
    location = /conn { limit_conn conns 2; proxy_pass http://%[4]s/; }
    location = /return { limit_req zone=slow; return 200 ok; }
  }
}`

// startNginx starts Debian's nginx with a configuration at dir/nginx.conf.
func startNginx(t *testing.T, dir, addr string) {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("make deps-test installs nginx")
	}
	cmd := exec.Command(path, "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", "stderr")
	var log strings.Builder
	cmd.Stderr = &log
	t.Cleanup(func() { _ = cmd.Wait() })
	proctest.Start(t, cmd)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal("nginx does not listen")
		}
	}
}

// volley sends that many requests at once and counts the answers by status. told
// is called with each answer's.
func volley(t *testing.T, url, key string, requests int, told func(status int)) map[int]int {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	var mu sync.Mutex
	statuses := map[int]int{}
	var all sync.WaitGroup
	for range requests {
		all.Go(func() {
			req, err := http.NewRequest(http.MethodGet, url, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if key != "" {
				req.Header.Set("X-Key", key)
			}
			res, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			statuses[res.StatusCode]++
			told(res.StatusCode)
		})
	}
	all.Wait()
	return statuses
}

// gate is an origin that answers when it is open.
func gate(t *testing.T) (addr string, open func()) {
	t.Helper()
	opened := make(chan struct{})
	origin := proxytest.NewOrigin(t, proxytest.Answering(func(*http.Request, []byte) string {
		<-opened
		return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	}))
	return origin.Addr, sync.OnceFunc(func() { close(opened) })
}

// What is imported refuses as many of the same requests as nginx does.
func TestLimitsAreThoseOfNginx(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for turns of ten seconds")
	}
	dir, user := t.TempDir(), ""
	if os.Geteuid() == 0 {
		user = "user root;" // its worker could not read the test's folder
	}
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte("ok\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	origin, open := gate(t)
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, ratesConf, user, addr, dir, origin), 0o600); err != nil {
		t.Fatal(err)
	}
	imported, err := nginxconf.Import(conf, dir)
	if err != nil {
		t.Fatal(err)
	}
	startNginx(t, dir, addr)
	g := proxytest.Start(t, strings.Replace(string(imported.YAML), addr, "127.0.0.1:0", 1))
	for _, c := range []struct {
		path, key string
		requests  int
		want      map[int]int
	}{
		{"/none", "a", 5, map[int]int{200: 1, 503: 4}},
		{"/none", "", 5, map[int]int{200: 5}},
		{"/burst", "b", 9, map[int]int{200: 5, 503: 4}},
		{"/wait", "c", 5, map[int]int{200: 2, 503: 3}},
		{"/some", "d", 6, map[int]int{200: 4, 503: 2}},
		{"/both", "e", 6, map[int]int{200: 3, 429: 3}},
		{"/dry", "f", 4, map[int]int{200: 4}},
		{"/return", "g", 4, map[int]int{200: 4}},
	} {
		t.Run(c.path+" "+c.key, func(t *testing.T) {
			var all sync.WaitGroup
			for server, at := range map[string]string{"nginx": addr, "perigee": g.Addr} {
				all.Go(func() {
					if got := volley(t, "http://"+at+c.path, c.key, c.requests, func(int) {}); !maps.Equal(got, c.want) {
						t.Errorf("%s: %v, want %v\n%s", server, got, c.want, imported.YAML)
					}
				})
			}
			all.Wait()
		})
	}
	t.Run("/conn", func(t *testing.T) {
		refused := map[string]*atomic.Int32{"nginx": {}, "perigee": {}}
		var all sync.WaitGroup
		for server, at := range map[string]string{"nginx": addr, "perigee": g.Addr} {
			all.Go(func() {
				got := volley(t, "http://"+at+"/conn", "h", 6, func(status int) {
					if status == 503 {
						refused[server].Add(1)
					}
					if refused["nginx"].Load() >= 4 && refused["perigee"].Load() >= 4 {
						open()
					}
				})
				if want := (map[int]int{200: 2, 503: 4}); !maps.Equal(got, want) {
					t.Errorf("%s: %v, want %v", server, got, want)
				}
			})
		}
		all.Wait()
		open()
	})
}
