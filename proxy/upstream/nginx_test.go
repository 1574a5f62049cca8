package upstream

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"perigee/proctest"
	"perigee/proxy/wire"
)

const nginxConf = `
daemon off; master_process off; pid %[1]s/pid; error_log stderr crit;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f;
  uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  server {
    listen %[2]s;
    location = /length { return 200 hello; }
    location = /trailers { add_trailer X-Sum 42; return 200 hello; }
    location = /empty { return 204; }
    location = /close { keepalive_timeout 0; return 200 bye; }
    location = /file { root %[1]s; }
    location = /old { return 426; }
  }
}`

// nginx starts Debian's nginx and gives its address.
func nginx(t *testing.T) (address, dir string) {
	path, err := exec.LookPath("nginx")
	if err != nil {
		t.Fatalf("this test talks to nginx: %v; run make deps-test", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address, dir = l.Addr().String(), t.TempDir()
	l.Close()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir, address), 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd := exec.Command(path, "-c", conf, "-p", dir, "-e", "stderr")
	cmd.Stderr = &log
	all := proctest.Start(t, cmd)
	t.Cleanup(func() {
		all.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return address, dir
		}
		if time.Now().After(end) {
			all.Kill()
			_ = cmd.Wait()
			t.Fatalf("nginx does not listen: %s", log.String())
		}
	}
}

// TestNginx checks that another implementation's answers are framed as it
// means them, on one connection.
func TestNginx(t *testing.T) {
	address, dir := nginx(t)
	content := strings.Repeat("0123456789", 100_000)
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	e := group(t, testConfig(address)).members[0].endpoint
	tests := []struct {
		method, path string
		status       int
		body         string
		trailers     string
		kept         bool
	}{
		{"GET", "/length", 200, "hello", "", true},
		{"GET", "/trailers", 200, "hello", "X-Sum=42;", true},
		{"HEAD", "/trailers", 200, "", "", true},
		{"GET", "/file", 200, content, "", true},
		{"HEAD", "/file", 200, "", "", true},
		{"GET", "/empty", 204, "", "", true},
		{"GET", "/length", 200, "hello", "", true},
		{"GET", "/close", 200, "bye", "", false},
	}
	for i, tt := range tests {
		c, reused, err := e.Acquire(testTimeouts)
		if err != nil || reused != (i > 0) {
			t.Fatalf("%s %s: reused %v, error %v", tt.method, tt.path, reused, err)
		}
		c.WriteLast([]byte(tt.method+" "+tt.path+" HTTP/1.1\r\nHost: o\r\nTE: trailers\r\nConnection: TE\r\n\r\n"), nil, nil)
		asked := wire.AskedOther
		if tt.method == "HEAD" {
			asked = wire.AskedHEAD
		}
		a, err := receive(c, asked)
		kept := c.Release(Finished)
		if err != nil || a.body != tt.body || a.trailers != tt.trailers || kept != tt.kept ||
			!strings.HasPrefix(a.heads[0], fmt.Sprintf("HTTP/1.1 %d ", tt.status)) {
			t.Errorf("%s %s: heads %q, body of %d bytes, trailers %q, kept %v, error %v",
				tt.method, tt.path, a.heads, len(a.body), a.trailers, kept, err)
		}
	}
}
