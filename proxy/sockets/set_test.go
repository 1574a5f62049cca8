package sockets

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadEnvironment(t *testing.T) {
	for _, c := range []struct {
		name string
		env  map[string]string
		want string
	}{
		{"nothing", nil, "[]"},
		{"systemd", map[string]string{envPID: "7", envCount: "2"}, "[{3 } {4 }]"},
		{"systemd, another process", map[string]string{envPID: "8", envCount: "2"}, "[]"},
		{"systemd, no number", map[string]string{envPID: "7", envCount: "x"}, "error"},
		{"systemd, too many", map[string]string{envPID: "7", envCount: "100000"}, "error"},
		{"a predecessor", map[string]string{envListen: "%3A8080=3;unix%3A%2Frun%2Fa=4"}, "[{3 :8080} {4 unix:/run/a}]"},
		{"a predecessor goes first", map[string]string{envListen: "a=5", envPID: "7", envCount: "1"}, "[{5 a}]"},
		{"a standard stream", map[string]string{envListen: "a=1"}, "error"},
		{"no descriptor", map[string]string{envListen: "a"}, "error"},
		{"no escape", map[string]string{envListen: "%zz=3"}, "error"},
	} {
		entries, err := readEnvironment(func(name string) string { return c.env[name] }, 7)
		got := fmt.Sprint(entries)
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%s: %s (%v), want %s", c.name, got, err, c.want)
		}
	}
}

func FuzzReadEnvironment(f *testing.F) {
	f.Add("%3A8080=3;unix%3A%2Frun%2Fa=4", "", "")
	f.Add("", "7", "2")
	f.Fuzz(func(t *testing.T, ours, pid, count string) {
		env := map[string]string{envListen: ours, envPID: pid, envCount: count}
		entries, err := readEnvironment(func(name string) string { return env[name] }, 7)
		for _, e := range entries {
			if err != nil || e.fd < firstFD {
				t.Errorf("entry %v with error %v", e, err)
			}
		}
	})
}

func TestBound(t *testing.T) {
	tcp := func(ip string, port int) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: port} }
	for _, c := range []struct {
		address string
		addr    net.Addr
		want    bool
	}{
		{":80", tcp("::", 80), true},
		{":80", tcp("0.0.0.0", 80), true},
		{":80", tcp("127.0.0.1", 80), false},
		{":81", tcp("::", 80), false},
		{"127.0.0.1:80", tcp("127.0.0.1", 80), true},
		{"127.0.0.1:80", tcp("::", 80), false},
		{"[::1]:80", tcp("::1", 80), true},
		{"localhost:80", tcp("127.0.0.1", 80), false},
		{"unix:/a", &net.UnixAddr{Name: "/a"}, true},
		{"unix:/a", &net.UnixAddr{Name: "/b"}, false},
		{"unix:/a", tcp("::", 80), false},
		{"nonsense", tcp("::", 80), false},
	} {
		if got := bound(c.address, c.addr); got != c.want {
			t.Errorf("%s for %s: %v", c.addr, c.address, got)
		}
	}
}

func TestTakeAndRest(t *testing.T) {
	var set Set
	listen := func(network, address string) net.Listener {
		ln, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		return ln
	}
	tcp, named := listen("tcp", "127.0.0.1:0"), listen("tcp", "127.0.0.1:0")
	unix := listen("unix", filepath.Join(t.TempDir(), "s"))
	set.open = []inherited{{Listener: tcp}, {Listener: named, address: "127.0.0.1:0"}, {Listener: unix}}
	for _, c := range []struct {
		address string
		want    net.Listener
	}{
		{"127.0.0.1:1", nil},
		{tcp.Addr().String(), tcp},
		{tcp.Addr().String(), tcp}, // again
		{"127.0.0.1:0", named},
	} {
		got, err := set.Take(c.address)
		if err != nil || (got == nil) != (c.want == nil) {
			t.Errorf("%s: %v, %v", c.address, got, err)
			continue
		}
		if got != nil {
			defer got.Close()
			if got.Addr().String() != c.want.Addr().String() {
				t.Errorf("%s: the socket of %s", c.address, got.Addr())
			}
		}
	}
	if rest := set.Rest(); len(rest) != 1 || !strings.HasSuffix(rest[0], "/s") {
		t.Errorf("rest: %q", rest)
	}
	if _, err := net.Dial("unix", unix.Addr().String()); err == nil {
		t.Error("a socket that nobody took is open")
	}
	var none *Set
	if ln, err := none.Take(":80"); ln != nil || err != nil || none.Rest() != nil || none.Successor() || none.Announce() != nil {
		t.Error("the nil set is not empty")
	}
}

func TestEnvironment(t *testing.T) {
	got := environment([]string{"A=1", envListen + "=old", envPID + "=3", "B=2"}, "x=3", 4)
	want := "A=1 B=2 PERIGEE_LISTEN=x=3 PERIGEE_READY=4"
	if strings.Join(got, " ") != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	if err := Notify("READY=1"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	n, err := c.Read(b)
	if err != nil || string(b[:n]) != "READY=1" {
		t.Errorf("%q, %v", b[:n], err)
	}
	t.Setenv("NOTIFY_SOCKET", path+"-missing")
	if Notify("READY=1") == nil {
		t.Error("nobody listens, and no error")
	}
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify("READY=1"); err != nil {
		t.Error(err)
	}
}
