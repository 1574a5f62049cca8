package upstream

import (
	"slices"
	"testing"

	"perigee/proxy/unit"
)

func TestEndpointDial(t *testing.T) {
	for _, test := range []struct {
		name, address string
		block         bool // the upstream has a tls block
		want          string
		tls           bool
	}{
		{"host and port", "10.0.0.1:9001", false, "10.0.0.1:9001", false},
		{"port 80", "api.internal", false, "api.internal:80", false},
		{"http", "http://api.internal", false, "api.internal:80", false},
		{"https", "https://api.internal", false, "api.internal:443", true},
		{"https with port", "https://api.internal:8443", false, "api.internal:8443", true},
		{"tls block", "api.internal", true, "api.internal:443", true},
		{"IPv6", "[2001:db8::1]:80", false, "[2001:db8::1]:80", false},
		{"IPv6 without port", "https://[::1]", false, "[::1]:443", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, tls, err := EndpointConfig{Address: test.address}.Dial(test.block)
			if err != nil || got != test.want || tls != test.tls {
				t.Errorf("%q: %q %v %v", test.address, got, tls, err)
			}
		})
	}
	for _, address := range []string{"", "ftp://a", "a/b", "a?b", "a:b:c", "a:0", "a:65536", ":80", "u@a:1", "a b:1", "[::1", "https://"} {
		if got, _, err := (EndpointConfig{Address: address}).Dial(false); err == nil {
			t.Errorf("%q gives %q", address, got)
		}
	}
	if _, _, err := (EndpointConfig{Address: "http://a"}).Dial(true); err == nil {
		t.Error("http:// under a tls block was taken")
	}
}

// checked is a Config that Check has nothing to say about.
func checked() *Config {
	c := &Config{Endpoints: []EndpointConfig{{Address: "a:1", Weight: 1}, {Address: "b:1", Weight: 2}}}
	c.SetDefaults()
	return c
}

func TestCheck(t *testing.T) {
	if problems := checked().Check(); len(problems) != 0 {
		t.Fatalf("a good Config: %+v", problems)
	}
	for _, test := range []struct {
		name   string
		change func(c *Config)
		want   []string // paths
	}{
		{"no endpoints", func(c *Config) { c.Endpoints = nil }, []string{"endpoints"}},
		{"bad address", func(c *Config) { c.Endpoints[1].Address = "x y" }, []string{"endpoints[1].address"}},
		{"the same endpoint in two notations", func(c *Config) { c.Endpoints[1].Address = "http://a:1" }, []string{"endpoints[1].address"}},
		{"negative weight", func(c *Config) { c.Endpoints[0].Weight = -1 }, []string{"endpoints[0].weight"}},
		{"no weight at all", func(c *Config) { c.Endpoints[0].Weight, c.Endpoints[1].Weight = 0, 0 }, []string{"endpoints"}},
		{"timeouts", func(c *Config) { c.Timeouts = TimeoutConfig{Connect: 1} }, []string{"timeouts.send", "timeouts.response", "timeouts.read"}},
		{"attempts", func(c *Config) { c.Retry.Attempts = 101 }, []string{"retry.attempts"}},
		{"keepalive", func(c *Config) { c.Keepalive = KeepaliveConfig{Idle: 1, MaxConns: -1} }, []string{"keepalive.max_conns", "keepalive.idle_timeout"}},
		{"cert without key", func(c *Config) { c.TLS = &TLSConfig{Verify: true, Cert: "x"} }, []string{"tls"}},
		{"ca without verify", func(c *Config) { c.TLS = &TLSConfig{CA: "x"} }, []string{"tls.ca"}},
		{"no host", func(c *Config) { c.Host = unit.Template{} }, []string{"host"}},
		{"host with a line break", func(c *Config) { c.Host = unit.MustTemplate("a\nb") }, []string{"host"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := checked()
			test.change(c)
			var got []string
			for _, p := range c.Check() {
				if p.Message == "" {
					t.Errorf("%s: no message", p.Path)
				}
				got = append(got, p.Path)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("paths %q, want %q", got, test.want)
			}
		})
	}
}

func FuzzEndpointDial(f *testing.F) {
	for _, seed := range []string{"a:1", "https://[::1]", "http://a", "[::1%eth0]:1", "a:00080", "::1"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, address string, block bool) {
		hostport, tls, err := EndpointConfig{Address: address}.Dial(block)
		if err != nil {
			return
		}
		again, _, err := EndpointConfig{Address: hostport}.Dial(tls)
		if err != nil || again != hostport {
			t.Fatalf("%q dials %q, which dials %q, %v", address, hostport, again, err)
		}
	})
}
