package upstream

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"perigee/proxy/observe"
	"perigee/proxy/unit"
	"perigee/proxy/wire"
)

func TestReloadKeepsConnections(t *testing.T) {
	var accepted atomic.Int32
	address := origin(t, func(c *net.TCPConn) {
		accepted.Add(1)
		answering(emptyAnswer)(c)
	})
	r := registry(t)
	old, err := NewGroup(r, "orders", testConfig(address, "127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exchange(old.members[0].endpoint, testTimeouts, wire.AskedOther); err != nil {
		t.Fatal(err)
	}
	changed := testConfig(address)
	changed.Endpoints[0].Weight = 7
	changed.Keepalive.MaxConns = 5
	fresh, err := NewGroup(r, "orders", changed)
	if err != nil {
		t.Fatal(err)
	}
	old.Close()
	e := fresh.members[0].endpoint
	if e != old.members[0].endpoint {
		t.Fatal("the reload made another endpoint")
	}
	if l := e.limits.Load(); l.Connections != 5 {
		t.Errorf("limits of the old configuration hold: %+v", l)
	}
	if a, err := exchange(e, testTimeouts, wire.AskedOther); err != nil || !a.reused {
		t.Errorf("%+v, error %v", a, err)
	}
	if n := accepted.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	if len(r.endpoints) != 1 {
		t.Errorf("%d endpoints are left after the reload, want 1", len(r.endpoints))
	}
	held, _, err := e.Acquire(testTimeouts)
	if err != nil {
		t.Fatal(err)
	}
	fresh.Close()
	if err := tryRequest(held, "WriteLast"); err != nil {
		t.Errorf("an exchange in flight when its endpoint goes: %v", err)
	}
	if held.Release(Finished) || e.Info().Idle != 0 || len(r.endpoints) != 0 {
		t.Errorf("after the last configuration: %+v, %d endpoints", e.Info(), len(r.endpoints))
	}
}

func TestIdentity(t *testing.T) {
	r := registry(t)
	build := func(name string, c *Config) *Endpoint {
		t.Helper()
		g, err := NewGroup(r, name, c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(g.Close)
		return g.members[0].endpoint
	}
	tlsConfig := func(change func(*TLSConfig)) *Config {
		c := testConfig("127.0.0.1:443")
		c.TLS = &TLSConfig{}
		c.TLS.SetDefaults()
		change(c.TLS)
		return c
	}
	all := map[*Endpoint]string{}
	for _, tt := range []struct {
		name     string
		upstream string
		config   *Config
	}{
		{"plain", "a", testConfig("127.0.0.1:443")},
		{"another upstream", "b", testConfig("127.0.0.1:443")},
		{"another port", "a", testConfig("127.0.0.1:444")},
		{"https", "a", testConfig("https://127.0.0.1:443")},
		{"another server name", "a", tlsConfig(func(c *TLSConfig) { c.ServerName = "x" })},
		{"no verification", "a", tlsConfig(func(c *TLSConfig) { c.Verify = false })},
	} {
		e := build(tt.upstream, tt.config)
		if other, twice := all[e]; twice {
			t.Errorf("%s is the same endpoint as %s", tt.name, other)
		}
		all[e] = tt.name
	}
	if e := build("a", tlsConfig(func(*TLSConfig) {})); all[e] != "https" {
		t.Errorf("the same settings make another endpoint (%q)", all[e])
	}
}

func TestNewGroupErrors(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk.pem")
	if err := os.WriteFile(junk, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		tls  TLSConfig
		want string
	}{
		{"no CA file", TLSConfig{Verify: true, CA: filepath.Join(dir, "none")}, "tls.ca"},
		{"junk as CA", TLSConfig{Verify: true, CA: junk}, "no PEM certificate"},
		{"no cert file", TLSConfig{Verify: true, Cert: filepath.Join(dir, "none"), Key: junk}, "tls.cert"},
		{"no key file", TLSConfig{Verify: true, Cert: junk, Key: filepath.Join(dir, "none")}, "tls.key"},
		{"junk as cert", TLSConfig{Verify: true, Cert: junk, Key: junk}, "tls.cert"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := registry(t)
			c := testConfig("127.0.0.1:1")
			c.TLS = &tt.tls
			_, err := NewGroup(r, "orders", c)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "orders") {
				t.Errorf("error %v", err)
			}
			if len(r.endpoints) != 0 {
				t.Errorf("%d endpoints are left", len(r.endpoints))
			}
		})
	}
	r := registry(t)
	r.Close()
	if _, err := NewGroup(r, "late", testConfig("127.0.0.1:1")); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v after Close", err)
	}
	bad := testConfig("127.0.0.1:1", "ftp://x")
	if _, err := NewGroup(registry(t), "bad", bad); err == nil {
		t.Error("a bad address makes a group")
	}
}

func TestMaxConns(t *testing.T) {
	c := testConfig(origin(t, answering(emptyAnswer)))
	c.Keepalive.MaxConns = 2
	e := group(t, c).members[0].endpoint
	first, _, err := e.Acquire(testTimeouts)
	if err != nil {
		t.Fatal(err)
	}
	second, err := e.AcquireNew(testTimeouts)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.Acquire(testTimeouts); !errors.Is(err, ErrBusy) {
		t.Errorf("third: error %v", err)
	}
	if _, err := e.AcquireNew(testTimeouts); !errors.Is(err, ErrBusy) {
		t.Errorf("third new: error %v", err)
	}
	for _, c := range []*Conn{first, second} {
		if err := tryRequest(c, "WriteLast"); err != nil {
			t.Fatal(err)
		}
		c.Release(Finished)
	}
	third, err := e.AcquireNew(testTimeouts)
	if err != nil {
		t.Fatal(err)
	}
	if i := e.Info(); i.Idle+int(i.InFlight) != 2 {
		t.Errorf("more connections than allowed: %+v", i)
	}
	third.Release(Abandoned)
}

func TestIdleLimits(t *testing.T) {
	c := testConfig(origin(t, answering(emptyAnswer)))
	c.Keepalive.Idle = 1
	c.Keepalive.IdleTimeout = unit.Duration(100 * time.Millisecond)
	g := group(t, c)
	e := g.members[0].endpoint
	var conns [2]*Conn
	for i := range conns {
		var err error
		if conns[i], err = e.AcquireNew(testTimeouts); err != nil {
			t.Fatal(err)
		}
		if err := tryRequest(conns[i], "WriteLast"); err != nil {
			t.Fatal(err)
		}
	}
	if !conns[0].Release(Finished) || conns[1].Release(Finished) || e.Info().Idle != 1 {
		t.Errorf("one of two is kept: %+v", e.Info())
	}
	time.Sleep(120 * time.Millisecond)
	a, err := exchange(e, testTimeouts, wire.AskedOther)
	if err != nil || a.reused {
		t.Errorf("a connection was used after its idle timeout: %+v, error %v", a, err)
	}
	time.Sleep(120 * time.Millisecond)
	g.registry.sweep()
	if i := e.Info(); i.Idle != 0 {
		t.Errorf("after a sweep: %+v", i)
	}
}

// TestSweepDropsClosed: the timer finds connections that the endpoint closed.
func TestSweepDropsClosed(t *testing.T) {
	t.Parallel()
	e := endpoint(t, answeringOnce(emptyAnswer))
	if a, err := exchange(e, testTimeouts, wire.AskedOther); err != nil || !a.kept {
		t.Fatalf("%+v, error %v", a, err)
	}
	// A sweep that has found nothing left is done a little later.
	for end := time.Now().Add(20 * time.Second); e.Info().Idle != 0 || e.registry.swept.Load(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d closed connections stay in the pool, or a sweep is due though nothing is idle", e.Info().Idle)
		}
	}
}

func TestNames(t *testing.T) {
	address := origin(t, answering(emptyAnswer))
	_, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	e := group(t, testConfig("orders.test:"+strconv.Itoa(n))).members[0].endpoint
	lookups := 0
	var answerErr error
	ips := []net.IPAddr{{IP: net.ParseIP("127.0.0.2")}, {IP: net.ParseIP("127.0.0.1")}}
	e.dialer.names.lookup = func(_ context.Context, host string) ([]net.IPAddr, error) {
		lookups++
		if host != "orders.test" {
			t.Errorf("asked for %q", host)
		}
		return ips, answerErr
	}
	get := func() error {
		c, err := e.AcquireNew(testTimeouts)
		if err != nil {
			return err
		}
		defer c.Release(Abandoned)
		if got := c.RemoteAddr().String(); got != address {
			t.Errorf("connected to %s, want %s", got, address)
		}
		return tryRequest(c, "WriteLast")
	}
	for range 2 {
		if err := get(); err != nil {
			t.Fatal(err)
		}
	}
	if lookups != 1 || e.dialer.names.known[0] != address {
		t.Errorf("%d lookups, known %v", lookups, e.dialer.names.known)
	}
	e.dialer.names.until = 0
	answerErr = &net.DNSError{Err: "no such host", Name: "orders.test", IsNotFound: true}
	if err := get(); err != nil || lookups != 2 {
		t.Errorf("addresses known before are not used on: %v", err)
	}
	e.dialer.names.known, e.dialer.names.until = nil, 0
	var ce *ConnectError
	if err := get(); !errors.As(err, &ce) || ce.Kind != ConnectName {
		t.Errorf("error %v", err)
	}
}

func TestEndpointMetrics(t *testing.T) {
	r := registry(t)
	m := observe.NewMetrics(observe.BuildInfo{})
	r.SetMetrics(m)
	g, err := NewGroup(r, "orders", testConfig("127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if e := g.members[0].endpoint; e.Metrics() == nil || e.Metrics() != m.Endpoint("orders", "127.0.0.1:1") {
		t.Error("the endpoint does not hold its series")
	}
}

func TestOverride(t *testing.T) {
	c := testConfig()
	got := c.Timeouts.Timeouts().Override(TimeoutConfig{Response: unit.Duration(time.Second)})
	want := Timeouts{Connect: 5 * time.Second, Send: time.Minute, Response: time.Second, Read: time.Minute}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
