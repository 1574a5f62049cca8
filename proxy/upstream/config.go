package upstream

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"perigee/proxy/unit"
)

// Config is one entry of the configuration's upstreams: a named group of
// servers that serve the same thing (nginx: an upstream block together with
// the proxy_* directives about the connection).
type Config struct {
	// Endpoints are the servers: "10.0.0.1:9001", "https://api.internal", or a
	// mapping with address and weight. At least one. nginx: server.
	Endpoints []EndpointConfig `yaml:"endpoints"`
	// Balance chooses an endpoint for a request. Default round_robin: smooth
	// weighted round robin, as nginx without a balancing directive.
	Balance Balance `yaml:"balance"`
	// Host is the Host header sent to the endpoint. Default pass: the client's.
	// endpoint: the chosen endpoint's address, as nginx does by default. Any
	// other text is sent itself, variables evaluated; it is also the server name
	// of a TLS handshake when tls.server_name is not set. nginx: proxy_set_header
	// Host.
	Host unit.Template `yaml:"host"`
	// Timeouts bound each attempt to reach an endpoint.
	Timeouts TimeoutConfig `yaml:"timeouts"`
	// Retry says when a failed attempt is made again at another endpoint.
	Retry RetryConfig `yaml:"retry"`
	// Keepalive is the pool of idle connections of each endpoint.
	Keepalive KeepaliveConfig `yaml:"keepalive"`
	// Protocol is what endpoints speak. Default http1. h2c: HTTP/2 without TLS,
	// by prior knowledge; the requests of an event loop share a few connections,
	// those that come together leave in one write. h2: HTTP/2 over TLS, agreed
	// upon by ALPN; an endpoint that does not agree is a failed attempt. nginx:
	// none for proxy_pass, as grpc_pass with grpc:// and grpcs://.
	Protocol Protocol `yaml:"protocol,omitempty"`
	// Pipeline is how many requests may be under way on one connection of an
	// event loop, sent one behind the other and answered in that order. Default
	// 0: one. Only idempotent requests without body are pipelined, to endpoints
	// without TLS, and only by listeners with driver: loop. When an endpoint
	// closes the connection, those it has not answered are sent again. It saves
	// much of the cost of a request where answers are short and quick; one that
	// is slow holds up those behind it. nginx: none.
	Pipeline int `yaml:"pipeline,omitempty"`
	// PipelineWait is how long a request waits for the answers to those before it
	// on the connection; then it is sent again on a connection of its own.
	// Default 1s.
	PipelineWait unit.Duration `yaml:"pipeline_wait,omitempty"`
	// Lua chooses the endpoint of each attempt by a script.
	Lua *LuaConfig `yaml:"lua,omitempty"`
	// TLS makes connections to all endpoints HTTPS and says how they are
	// verified. An endpoint written https:// uses TLS without this block too,
	// verified against the system's authorities.
	TLS *TLSConfig `yaml:"tls,omitempty"`
}

// LuaConfig are the scripts of an upstream.
type LuaConfig struct {
	// Balancer runs before each attempt and may name the endpoint with
	// ngx.balancer.set_current_peer, known to the configuration or not; when it
	// names none, balance chooses. nginx: balancer_by_lua.
	Balancer *unit.Source `yaml:"balancer,omitempty"`
	// WaitEverywhere lets the script wait, for time, sockets, threads and
	// semaphores. Default false, as in OpenResty.
	WaitEverywhere bool `yaml:"wait_everywhere"`
}

// BalancerScript is the script that chooses endpoints, or nil.
func (c *Config) BalancerScript() *unit.Source {
	if c.Lua == nil {
		return nil
	}
	return c.Lua.Balancer
}

// SetDefaults gives every field that has one its default; the loader calls it
// before it reads the configuration's keys.
func (c *Config) SetDefaults() {
	c.Balance = RoundRobin
	c.Host = unit.MustTemplate(HostPass)
	c.Timeouts = TimeoutConfig{
		Connect:  unit.Duration(5e9),
		Send:     unit.Duration(60e9),
		Response: unit.Duration(60e9),
		Read:     unit.Duration(60e9),
	}
	c.Retry.SetDefaults()
	c.Keepalive = KeepaliveConfig{Idle: 128, IdleTimeout: unit.Duration(60e9)}
	c.Protocol, c.PipelineWait = ProtocolHTTP1, unit.Duration(1e9)
}

// maxPipeline bounds what is sent again when a connection ends.
const maxPipeline = 1024

// The words of Config.Host that are not sent as they stand.
const (
	HostPass     = "pass"
	HostEndpoint = "endpoint"
)

// Protocol is a version of HTTP that endpoints speak.
type Protocol string

// The protocols.
const (
	ProtocolHTTP1 Protocol = "http1"
	ProtocolH2C   Protocol = "h2c"
	ProtocolH2    Protocol = "h2"
)

// Values are the words that are accepted.
func (Protocol) Values() []string {
	return []string{string(ProtocolHTTP1), string(ProtocolH2C), string(ProtocolH2)}
}

// HTTP2 tells whether it is HTTP/2.
func (p Protocol) HTTP2() bool { return p == ProtocolH2C || p == ProtocolH2 }

// Balance names a way to choose an endpoint.
type Balance string

// RoundRobin is smooth weighted round robin.
const RoundRobin Balance = "round_robin"

// Values are the words that are accepted.
func (Balance) Values() []string { return []string{string(RoundRobin)} }

// Unbuilt are the words that a later version will accept.
func (Balance) Unbuilt() []string { return []string{"least_conn", "ewma", "hash"} }

// EndpointConfig is one server of an upstream.
type EndpointConfig struct {
	// Address is host:port, http://host[:port] or https://host[:port]; the port
	// defaults to 80, or 443 with TLS. IPv6 addresses stand in brackets.
	Address string `yaml:"address" config:"short"`
	// Weight is this endpoint's share of requests relative to the others'.
	// Default 1; 0 takes it out of service without removing it. nginx: weight.
	Weight int `yaml:"weight"`
}

// SetDefaults sets the weight of 1.
func (e *EndpointConfig) SetDefaults() { e.Weight = 1 }

// Dial splits the address: what to dial (host:port, the port filled in) and
// whether the address itself asks for TLS. upstreamTLS says that the upstream
// has a tls block. The error is a *unit.ValueError.
func (e EndpointConfig) Dial(upstreamTLS bool) (hostport string, tls bool, err error) {
	const fix = "write host:port, http://host:port or https://host:port"
	fail := func(problem string) (string, bool, error) {
		return "", false, &unit.ValueError{Kind: "endpoint", Value: e.Address, Problem: problem, Fix: fix}
	}
	rest, secure := strings.CutPrefix(e.Address, "https://")
	if !secure {
		var plain bool
		if rest, plain = strings.CutPrefix(e.Address, "http://"); plain && upstreamTLS {
			return fail("says http, but the upstream has a tls block")
		}
	}
	secure = secure || upstreamTLS
	switch {
	case rest == "":
		return fail("is empty")
	case strings.Contains(rest, "://"):
		return fail("has an unknown scheme")
	case strings.ContainsAny(rest, "/?#@ "):
		return fail("is more than host and port")
	}
	port := "80"
	if secure {
		port = "443"
	}
	host := rest
	if h, p, err := net.SplitHostPort(rest); err == nil {
		host, port = h, p
	} else if strings.HasPrefix(rest, "[") && strings.HasSuffix(rest, "]") {
		host = rest[1 : len(rest)-1]
	} else if strings.Contains(rest, ":") {
		return fail("is not host:port")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fail("has no port between 1 and 65535")
	}
	if host == "" {
		return fail("has no host")
	}
	return net.JoinHostPort(host, port), secure, nil
}

// TimeoutConfig bounds an attempt. In an upstream every field has a default; in a
// route a field that is not set (0) leaves the upstream's.
type TimeoutConfig struct {
	// Connect is for TCP and TLS handshakes together. Default 5s. nginx:
	// proxy_connect_timeout (60s there).
	Connect unit.Duration `yaml:"connect,omitempty"`
	// Send is the longest pause between two successful writes of the request.
	// Default 60s. nginx: proxy_send_timeout.
	Send unit.Duration `yaml:"send,omitempty"`
	// Response is from the last byte of the request to the end of the response
	// head. Default 60s; when it passes the client gets 504.
	Response unit.Duration `yaml:"response,omitempty"`
	// Read is the longest pause between two reads of the response body. Default
	// 60s. nginx: proxy_read_timeout, which also is Response.
	Read unit.Duration `yaml:"read,omitempty"`
}

// RetryConfig says which attempts are repeated at another endpoint.
type RetryConfig struct {
	// Attempts counts all of them, the first included. Default 2; 1 never
	// retries. nginx: proxy_next_upstream_tries.
	Attempts int `yaml:"attempts"`
	// On lists the outcomes that are tried again. Default [connect]. connect: no
	// connection, so nothing was sent and any request may be repeated. reset: the
	// connection ended before a response head. timeout: no response head in time.
	// 403, 404, 429, 500, 502, 503, 504: the endpoint's own answer. All but connect
	// repeat only requests that are idempotent (RFC 9110 section 9.2.2) and whose
	// body is still in the buffer. nginx: proxy_next_upstream.
	On []RetryCondition `yaml:"on"`
	// Within is how long after the first attempt began another may begin. Default
	// 0: no bound but attempts. nginx: proxy_next_upstream_timeout.
	Within unit.Duration `yaml:"within,omitempty"`
	// AnyMethod repeats requests whatever their method is, even if an endpoint may
	// have carried them out. nginx: proxy_next_upstream non_idempotent.
	AnyMethod bool `yaml:"any_method,omitempty"`
}

// SetDefaults sets two attempts, the second when nothing was sent.
func (r *RetryConfig) SetDefaults() {
	*r = RetryConfig{Attempts: 2, On: []RetryCondition{RetryConnect}}
}

// Check reports a number of attempts that cannot be made.
func (r *RetryConfig) Check() []unit.Problem {
	if r.Attempts >= 1 && r.Attempts <= 100 {
		return nil
	}
	return []unit.Problem{{
		Path: "attempts", Message: fmt.Sprintf("attempts %d is not between 1 and 100", r.Attempts),
		Hint: "write 1 for no retries: the first attempt counts",
	}}
}

// RetryCondition is an outcome of an attempt that may be tried again.
type RetryCondition string

// The outcomes.
const (
	RetryConnect RetryCondition = "connect"
	RetryReset   RetryCondition = "reset"
	RetryTimeout RetryCondition = "timeout"
	Retry403     RetryCondition = "403"
	Retry404     RetryCondition = "404"
	Retry429     RetryCondition = "429"
	Retry500     RetryCondition = "500"
	Retry502     RetryCondition = "502"
	Retry503     RetryCondition = "503"
	Retry504     RetryCondition = "504"
)

// Values are the words that are accepted.
func (RetryCondition) Values() []string {
	return []string{
		string(RetryConnect), string(RetryReset), string(RetryTimeout),
		string(Retry403), string(Retry404), string(Retry429), string(Retry500),
		string(Retry502), string(Retry503), string(Retry504),
	}
}

// KeepaliveConfig is the pool of connections to each endpoint.
type KeepaliveConfig struct {
	// Idle is how many unused connections are kept per endpoint. Default 128; 0
	// closes each after its response. nginx: keepalive (per worker there).
	Idle int `yaml:"idle"`
	// IdleTimeout closes an unused connection. Default 60s; keep it below the
	// endpoint's own, or requests meet connections that are just being closed.
	// nginx: keepalive_timeout in an upstream.
	IdleTimeout unit.Duration `yaml:"idle_timeout"`
	// MaxConns is the most connections to one endpoint in use at a time, tunnels
	// included; when all endpoints have as many, a request is answered 503.
	// Default 0: no bound. nginx: max_conns.
	MaxConns int `yaml:"max_conns"`
}

// TLSConfig says how an endpoint's certificate is verified and how perigee
// shows its own.
type TLSConfig struct {
	// Verify checks the endpoint's certificate and name. Default true; false
	// accepts anybody and is for tests. nginx: proxy_ssl_verify (off there).
	Verify bool `yaml:"verify"`
	// CA is a PEM file with the authorities to trust. Default: the system's.
	// nginx: proxy_ssl_trusted_certificate.
	CA string `yaml:"ca,omitempty" config:"path"`
	// ServerName is the name sent in the handshake and verified. Default: the
	// endpoint's host. nginx: proxy_ssl_name with proxy_ssl_server_name on.
	ServerName string `yaml:"server_name,omitempty"`
	// Cert is a PEM file with the certificate chain shown to the endpoint.
	// Needs key. nginx: proxy_ssl_certificate.
	Cert string `yaml:"cert,omitempty" config:"path"`
	// Key is the PEM file with the certificate's private key. nginx:
	// proxy_ssl_certificate_key.
	Key string `yaml:"key,omitempty" config:"path"`
}

// SetDefaults turns verification on.
func (t *TLSConfig) SetDefaults() { t.Verify = true }

// Check reports settings that do not go together.
func (t *TLSConfig) Check() []unit.Problem {
	var problems []unit.Problem
	if (t.Cert == "") != (t.Key == "") {
		problems = append(problems, unit.Problem{Message: "cert and key are only useful together", Hint: "give both or neither"})
	}
	if !t.Verify && t.CA != "" {
		problems = append(problems, unit.Problem{Path: "ca", Message: "authorities are given, but verify is false", Hint: "remove verify: false or ca"})
	}
	return problems
}

// Check reports what is wrong with values taken one by one or together.
func (c *Config) Check() []unit.Problem {
	var problems []unit.Problem
	report := func(path, message, hint string) {
		problems = append(problems, unit.Problem{Path: path, Message: message, Hint: hint})
	}
	if len(c.Endpoints) == 0 {
		report("endpoints", "an upstream needs at least one endpoint", "add endpoints: [host:port]")
	}
	seen := make(map[string]int, len(c.Endpoints))
	weight := 0
	for i, e := range c.Endpoints {
		path := fmt.Sprintf("endpoints[%d]", i)
		hostport, _, err := e.Dial(c.TLS != nil)
		if err != nil {
			report(path+".address", err.(*unit.ValueError).Message(), err.(*unit.ValueError).Fix)
		} else if first, twice := seen[hostport]; twice {
			report(path+".address", fmt.Sprintf("endpoint %q is endpoints[%d] again", e.Address, first), "remove one and give the other more weight")
		} else {
			seen[hostport] = i
		}
		if e.Weight < 0 || e.Weight > 65535 {
			report(path+".weight", fmt.Sprintf("weight %d is not between 0 and 65535", e.Weight), "")
		}
		weight += max(e.Weight, 0)
	}
	if len(c.Endpoints) > 0 && weight == 0 {
		report("endpoints", "all endpoints have weight 0, so none would serve", "give one a weight of at least 1")
	}
	problems = append(problems, c.checkRest()...)
	return problems
}

func (c *Config) checkRest() []unit.Problem {
	var problems []unit.Problem
	report := func(path, message, hint string) {
		problems = append(problems, unit.Problem{Path: path, Message: message, Hint: hint})
	}
	t := c.Timeouts
	for _, timeout := range [...]struct {
		name  string
		value unit.Duration
	}{{"connect", t.Connect}, {"send", t.Send}, {"response", t.Response}, {"read", t.Read}} {
		if timeout.value <= 0 {
			report("timeouts."+timeout.name, `duration "0" would fail every attempt`, "remove the key for the default")
		}
	}
	for _, p := range c.Retry.Check() {
		p.Path = "retry." + p.Path
		problems = append(problems, p)
	}
	if c.Keepalive.Idle < 0 {
		report("keepalive.idle", fmt.Sprintf("idle %d is negative", c.Keepalive.Idle), "write 0 to keep no connections")
	}
	if c.Keepalive.MaxConns < 0 {
		report("keepalive.max_conns", fmt.Sprintf("max_conns %d is negative", c.Keepalive.MaxConns), "write 0 for no bound")
	}
	if c.Keepalive.Idle > 0 && c.Keepalive.IdleTimeout <= 0 {
		report("keepalive.idle_timeout", `duration "0" would keep no connection`, "write idle: 0 to keep none")
	}
	if c.TLS != nil {
		for _, p := range c.TLS.Check() {
			p.Path = strings.TrimSuffix("tls."+p.Path, ".")
			problems = append(problems, p)
		}
	}
	if c.Pipeline < 0 || c.Pipeline > maxPipeline {
		report("pipeline", fmt.Sprintf("pipeline %d is not between 0 and %d", c.Pipeline, maxPipeline), "write 0 for one request at a time")
	}
	if c.Pipeline > 1 && c.PipelineWait <= 0 {
		report("pipeline_wait", `duration "0" would let nothing wait for others`, "remove pipeline or write a duration")
	}
	for i, e := range c.Endpoints {
		_, secure, err := e.Dial(c.TLS != nil)
		if err == nil && secure && (c.Pipeline > 1 || c.Protocol == ProtocolH2C) {
			report(fmt.Sprintf("endpoints[%d].address", i), fmt.Sprintf("endpoint %q speaks TLS; pipeline and h2c are for plain ones", e.Address), "remove them, write protocol: h2, or use http://")
		}
		if err == nil && !secure && c.Protocol == ProtocolH2 {
			report(fmt.Sprintf("endpoints[%d].address", i), fmt.Sprintf("endpoint %q speaks no TLS, by which h2 is agreed upon", e.Address), "write protocol: h2c, or use https://")
		}
	}
	if c.Pipeline > 1 && c.Protocol.HTTP2() {
		report("pipeline", "requests of HTTP/2 do not wait for each other anyway", "remove pipeline")
	}
	if c.Lua != nil && c.Lua.Balancer == nil {
		report("lua", "the block holds no script", "add balancer: or remove lua")
	}
	if source := c.BalancerScript(); source != nil {
		problems = append(problems, source.Check("lua.balancer")...)
	}
	if c.Host.IsZero() {
		report("host", "host is empty", "write pass, endpoint or a name")
	}
	return append(problems, unit.CheckHeaderValue("host", c.Host)...)
}
