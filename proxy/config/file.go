package config

import (
	"perigee/proxy/auth"
	"perigee/proxy/compress"
	"perigee/proxy/ip"
	"perigee/proxy/limit"
	"perigee/proxy/mapping"
	"perigee/proxy/respond"
	"perigee/proxy/rewrite"
	"perigee/proxy/script"
	"perigee/proxy/static"
	"perigee/proxy/trace"
	"perigee/proxy/transform"
	"perigee/proxy/unit"
	"perigee/proxy/upstream"
)

// File is a whole configuration, read, expanded and checked. It is immutable
// once Load or Parse has returned it: snapshots of several goroutines may read
// it. The comments of its fields are the manual; the JSON Schema carries them.
type File struct {
	// Prefix is where relative paths start; itself relative to the folder of the
	// configuration file. Default ".". nginx: -p.
	Prefix string `yaml:"prefix"`
	// Workers is the number of VMs that run Lua at the same time, and of event
	// loops, which stay as many as at the start. Default 0: the cores that the
	// cgroup allows. nginx: worker_processes.
	Workers int `yaml:"workers"`
	// Log is perigee's own log. nginx: error_log.
	Log Log `yaml:"log"`
	// AccessLog writes one line per finished exchange. nginx: access_log and
	// log_format.
	AccessLog AccessLog `yaml:"access_log"`
	// Redact says what logs and traces do not show.
	Redact Redact `yaml:"redact"`
	// Tracing sends spans of requests to an OpenTelemetry collector and trace context
	// to endpoints. Without it traceparent, tracestate and baggage pass as they are.
	Tracing *trace.Config `yaml:"tracing,omitempty"`
	// Variables are names for texts that are evaluated per request: {tenant:
	// "$http_x_tenant"} makes $tenant and ngx.var.tenant, which scripts may also
	// assign. nginx: set.
	Variables map[string]unit.Template `yaml:"variables,omitempty"`
	// Maps are variables that are looked up by what another text is: {backend:
	// {from: $host, exact: {a.example: one}, default: two}} makes $backend. They
	// are evaluated when they are used; scripts see the values that they have when
	// a run of the script begins, and may assign others. nginx: map.
	Maps map[string]*mapping.Config `yaml:"maps,omitempty"`
	// DefaultType is the Content-Type of answers of scripts and respond blocks
	// that name none; empty: none is sent. Default text/plain. nginx:
	// default_type.
	DefaultType string `yaml:"default_type"`
	// ErrorPages gives statuses of 300 and more that perigee itself answers
	// other answers; proxy.intercept_errors adds those of an upstream. Routes
	// that have error_pages of their own do not use these. nginx: error_page.
	ErrorPages map[int]ErrorPage `yaml:"error_pages,omitempty"`
	// ErrorFormat is the form of the answers that perigee makes itself for statuses
	// without a page: text (default), or html as nginx's.
	ErrorFormat ErrorFormat `yaml:"error_format,omitempty"`
	// AbsoluteRedirect makes whole addresses, with scheme, host and port, of the
	// paths that perigee itself sends clients to: for respond, rewrite, static and
	// error_pages. Default false: a client knows better than a gateway behind
	// others by which address it came. nginx: absolute_redirect (on there).
	AbsoluteRedirect bool `yaml:"absolute_redirect,omitempty"`
	// Listeners are the addresses that are served. At least one. nginx: listen.
	Listeners []Listener `yaml:"listeners"`
	// Admin is the operators' listener.
	Admin Admin `yaml:"admin"`
	// TrustedProxies are the networks whose X-Forwarded-* headers are believed.
	// Default none: they are replaced by what perigee sees itself. nginx:
	// set_real_ip_from.
	TrustedProxies unit.CIDRSet `yaml:"trusted_proxies"`
	// Limits bound what clients can make perigee hold.
	Limits Limits `yaml:"limits"`
	// Drain is how the process ends on SIGTERM.
	Drain Drain `yaml:"drain"`
	// Lua is what all scripts share.
	Lua script.Settings `yaml:"lua"`
	// Consumers are those who ask, by name: their groups, roles, scopes and API
	// keys. auth.consumers_file may have more.
	Consumers map[string]auth.Consumer `yaml:"consumers,omitempty"`
	// Auth is what the auth blocks of routes share.
	Auth auth.Settings `yaml:"auth,omitempty"`
	// Redis are stores by name in which the limits of several instances count
	// together.
	Redis map[string]*limit.Redis `yaml:"redis,omitempty"`
	// RateLimits are limits by name that scripts ask: perigee.limit(name, key, cost).
	// A route's limit of the same name with one part in its key counts the same.
	RateLimits map[string]*limit.Named `yaml:"rate_limits,omitempty"`
	// Upstreams are groups of servers by name.
	Upstreams map[string]*upstream.Config `yaml:"upstreams,omitempty"`
	// Routes say what is served how. The order matters only where hosts, paths
	// and predicates leave a choice. nginx: location.
	Routes []Route `yaml:"routes"`

	name   string            // of the file, as given
	text   []byte            // as read
	dir    string            // of the file
	kept   map[string]string // script files by path, if not the disk's; see Saved
	root   string            // Prefix made a path; relative paths have been joined to it
	places places
	digest string
}

// SetDefaults gives every field that has one its default; nested types set
// their own.
func (f *File) SetDefaults() { f.Prefix, f.DefaultType = ".", "text/plain" }

// Log is the log block.
type Log struct {
	// Level is the least important message that is written. Default notice.
	Level LogLevel `yaml:"level"`
	// File is a path relative to prefix, or "-" for standard error (default).
	File string `yaml:"file" config:"path"`
}

// SetDefaults sets notice on standard error.
func (l *Log) SetDefaults() { l.Level, l.File = "notice", "-" }

// LogLevel is one of ngx.log's levels.
type LogLevel string

// Values are the levels from the most to the least chatty, as in nginx.
func (LogLevel) Values() []string {
	return []string{"debug", "info", "notice", "warn", "error", "crit", "alert", "emerg"}
}

// Listener is one served address.
type Listener struct {
	// Address is [host]:port; without a host all addresses of the machine. Port
	// 0 takes a free one, which the log names. unix:/path is a socket of the
	// file system. nginx: listen.
	Address string `yaml:"address"`
	// Driver is what moves the exchanges of this listener: loop (event loops, one
	// per worker; TLS handshakes are goroutines' all the same), or goroutine (one per
	// connection). Default loop. It cannot change while the listener is open.
	Driver Driver `yaml:"driver,omitempty"`
	// TLS makes the listener HTTPS.
	TLS *TLS `yaml:"tls,omitempty"`
}

// DriverName is the driver, or the default one.
func (l *Listener) DriverName() Driver {
	if l.Driver != "" {
		return l.Driver
	}
	return DriverLoop
}

// Driver names a driver.
type Driver string

// The drivers.
const (
	DriverGoroutine Driver = "goroutine"
	DriverLoop      Driver = "loop"
)

// Values are the words that are accepted.
func (Driver) Values() []string { return []string{string(DriverGoroutine), string(DriverLoop)} }

// TLS is a listener's tls block.
type TLS struct {
	// Certificates are chosen by the name that the client asks for (SNI); the
	// first serves clients that ask for none of them. At least one.
	Certificates []Certificate `yaml:"certificates"`
	// ClientCA is a PEM file of authorities. When it is set, clients must show a
	// certificate that one of them signed. nginx: ssl_client_certificate with
	// ssl_verify_client on.
	ClientCA string `yaml:"client_ca,omitempty" config:"path"`
	// Lua are scripts that run in handshakes. With a certificate script
	// certificates may be left out.
	Lua *script.HandshakeConfig `yaml:"lua,omitempty"`
	// MinVersion is the oldest version spoken, 1.2 (default) or 1.3. nginx:
	// ssl_protocols.
	MinVersion TLSVersion `yaml:"min_version"`
}

// SetDefaults sets the least version.
func (t *TLS) SetDefaults() { t.MinVersion = TLS12 }

// TLSVersion is a version of TLS.
type TLSVersion string

// The versions; older ones are broken and not offered.
const (
	TLS12 TLSVersion = "1.2"
	TLS13 TLSVersion = "1.3"
)

// Values are the words that are accepted.
func (TLSVersion) Values() []string { return []string{string(TLS12), string(TLS13)} }

// Certificate is one chain and its key. Both files are read again when they
// change.
type Certificate struct {
	// Cert is a PEM file: the certificate, then the chain. nginx:
	// ssl_certificate.
	Cert string `yaml:"cert" config:"path"`
	// Key is the PEM file with the private key. nginx: ssl_certificate_key.
	Key string `yaml:"key" config:"path"`
}

// Admin is the admin block. Who reaches this listener reads the configuration
// and reloads it, so it stays on loopback unless told otherwise.
type Admin struct {
	// Address is host:port, or "off" for none. Default 127.0.0.1:9901.
	Address string `yaml:"address"`
	// Probes is a second listener with /healthz, /readyz and /metrics alone, for
	// kubelet and Prometheus. Default none.
	Probes string `yaml:"probes,omitempty"`
}

// SetDefaults sets loopback.
func (a *Admin) SetDefaults() { a.Address = "127.0.0.1:9901" }

// Off says that there is no admin listener.
func (a Admin) Off() bool { return a.Address == "off" }

// Limits is the limits block.
type Limits struct {
	// Connections is the most client connections at a time; more are closed at
	// once. Default 100000. nginx: worker_connections.
	Connections int `yaml:"connections"`
	// Inflight is the most exchanges at a time; more are answered 503. Default
	// 20000.
	Inflight int `yaml:"inflight"`
	// HeaderBytes is the largest request head, the request line included; larger
	// ones are answered 431, or 414 when the line alone is too long. Default
	// 16KiB. nginx: large_client_header_buffers.
	HeaderBytes unit.Size `yaml:"header_bytes"`
	// BodyBytes is the largest request body; larger ones are answered 413. 0
	// means no limit. Default 10MiB. nginx: client_max_body_size (1MiB there).
	BodyBytes unit.Size `yaml:"body_bytes"`
	// SubrequestBytes is the largest body of an answer that a script captures
	// (ngx.location.capture); of a larger one the script gets the beginning, as
	// truncated. 0 means no limit. Default 32MiB.
	SubrequestBytes unit.Size `yaml:"subrequest_bytes"`
	// BodyBuffer is the largest request body that is read into memory for a
	// script; a larger one goes to a file, which ngx.req.get_body_file names and
	// ngx.req.get_body_reader reads. Default 16KiB; 0: every body. nginx:
	// client_body_buffer_size.
	BodyBuffer unit.Size `yaml:"body_buffer"`
	// BodyTemp is the folder of such files, which go with their requests; it is
	// made if it is not there. Default: the system's (TMPDIR, or /tmp). nginx:
	// client_body_temp_path.
	BodyTemp string `yaml:"body_temp,omitempty" config:"path"`
	// Counters is the memory in which the limits of routes count: 16 bytes for each
	// key that is active. Another size than before forgets what was counted.
	// Default 64MiB. nginx: the zone of limit_req_zone.
	Counters unit.Size `yaml:"counters"`
	// HeaderTimeout is the time to receive a whole request head. Default 10s.
	// nginx: client_header_timeout.
	HeaderTimeout unit.Duration `yaml:"header_timeout"`
	// IdleTimeout closes a connection that waits for its next request. Default
	// 75s. nginx: keepalive_timeout.
	IdleTimeout unit.Duration `yaml:"idle_timeout"`
	// KeepaliveRequests is how many requests a connection brings: the last answer
	// closes it. A balancer that chooses once per connection learns of new
	// instances by that. HTTP/1.1 only. Default 0: any number. nginx:
	// keepalive_requests (1000 there).
	KeepaliveRequests int `yaml:"keepalive_requests,omitempty"`
	// BodyTimeout is the longest pause between two reads of a request body.
	// Default 60s. nginx: client_body_timeout.
	BodyTimeout unit.Duration `yaml:"body_timeout"`
	// SendTimeout is the longest pause between two writes of a response. Default
	// 60s. nginx: send_timeout.
	SendTimeout unit.Duration `yaml:"send_timeout"`
}

// SetDefaults gives every limit its default.
func (l *Limits) SetDefaults() {
	*l = Limits{
		Connections: 100000, Inflight: 20000,
		HeaderBytes: 16 * unit.KiB, BodyBytes: 10 * unit.MiB, BodyBuffer: 16 * unit.KiB,
		SubrequestBytes: 32 * unit.MiB, Counters: 64 * unit.MiB,
		HeaderTimeout: unit.Duration(10e9), IdleTimeout: unit.Duration(75e9),
		BodyTimeout: unit.Duration(60e9), SendTimeout: unit.Duration(60e9),
	}
}

// Drain is the drain block: what happens between SIGTERM and the exit.
type Drain struct {
	// Delay is how long perigee goes on accepting while /readyz already fails,
	// so that load balancers look away first. Default 0; 5s suits Kubernetes.
	Delay unit.Duration `yaml:"delay"`
	// Timeout is how long exchanges in flight may take to end after that.
	// Default 30s; then their connections are closed.
	Timeout unit.Duration `yaml:"timeout"`
}

// SetDefaults gives both their defaults.
func (d *Drain) SetDefaults() { d.Timeout = unit.Duration(30e9) }

// Route is one entry of routes: what it matches, and what is done then. A
// route is served by an upstream, a respond or static block or a lua.content script; one
// with only rewrite or access scripts is allowed too, and answers 404 when they
// neither answer nor go elsewhere.
type Route struct {
	// Name stands in metrics, logs and errors, and is what scripts jump to.
	// Letters, digits, _, . and -; unique.
	Name string `yaml:"name"`
	// Match says which requests are served. Without it: all.
	Match Match `yaml:"match,omitempty"`
	// Priority goes before every other rule of order: routes with a higher one
	// are asked first. Default 0; may be negative.
	Priority int `yaml:"priority,omitempty"`
	// Internal routes are reached by scripts and error_pages alone; a client
	// that asks for one gets 404. nginx: internal.
	Internal bool `yaml:"internal,omitempty"`
	// DefaultType replaces the top-level default_type for this route.
	DefaultType *string `yaml:"default_type,omitempty"`
	// ErrorPages replaces the top-level error_pages for this route.
	ErrorPages map[int]ErrorPage `yaml:"error_pages,omitempty"`
	// Before makes a route one that does not serve: its rewrite steps are done for
	// every request that it matches, before the request's route is looked for.
	// nginx: the rewrite directives of a server.
	Before bool `yaml:"before,omitempty"`
	// Rewrite changes the request before anything else is done with it: a list of
	// steps. nginx: set, if, rewrite, return, break.
	Rewrite rewrite.Steps `yaml:"rewrite,omitempty"`
	// IP says who may ask, by address: the first rule that names the client
	// counts; a client that none names may. Others are answered 403 before
	// scripts and credentials are looked at. nginx: allow, deny.
	IP ip.Rules `yaml:"ip,omitempty"`
	// Auth says who may ask, and how they show who they are. It is done before
	// access scripts.
	Auth *auth.Config `yaml:"auth,omitempty"`
	// Transform edits headers.
	Transform *transform.Config `yaml:"transform,omitempty"`
	// Compress makes answers shorter for clients that can read them so.
	Compress *compress.Config `yaml:"compress,omitempty"`
	// Limit bounds how often requests pass: a list of limits, each with a key.
	// nginx: limit_req, limit_conn.
	Limit limit.Rules `yaml:"limit,omitempty"`
	// Lua holds the route's scripts.
	Lua *script.Config `yaml:"lua,omitempty"`
	// Respond answers without an upstream.
	Respond *respond.Config `yaml:"respond,omitempty"`
	// BodyBytes replaces limits.body_bytes for this route; 0: no limit. nginx:
	// client_max_body_size.
	BodyBytes *unit.Size `yaml:"body_bytes,omitempty"`
	// BodyBuffer replaces limits.body_buffer for this route.
	BodyBuffer *unit.Size `yaml:"body_buffer,omitempty"`
	// DocumentRoot is what $document_root says. Default: root of static, or the
	// folder html in prefix. nginx: root.
	DocumentRoot string `yaml:"document_root,omitempty" config:"path"`
	// IfModifiedSince is how a client's date is compared with Last-Modified in
	// answers that are made here: exact (default), before, or off. nginx:
	// if_modified_since.
	IfModifiedSince ModifiedPolicy `yaml:"if_modified_since,omitempty"`
	// AccessLog replaces the top-level access_log, as a whole, for this route.
	AccessLog *AccessLog `yaml:"access_log,omitempty"`
	// Static answers with files of a directory.
	Static *static.Config `yaml:"static,omitempty"`
	// Upstream is the name of an entry of upstreams; proxy.target goes where
	// variables say. nginx: proxy_pass.
	Upstream string `yaml:"upstream,omitempty"`
	// Proxy says what the upstream is told.
	Proxy Proxy `yaml:"proxy,omitempty"`
	// Timeouts replace those of the upstream where they are set.
	Timeouts upstream.TimeoutConfig `yaml:"timeouts,omitempty"`
	// Retry replaces that of the upstream, as a whole.
	Retry *upstream.RetryConfig `yaml:"retry,omitempty"`
}

// Match is a route's match block. A request fits when every key that is given
// fits: one of hosts, one of paths, one of methods, all of headers, all of
// query. Package route says which of several fitting routes serves.
type Match struct {
	// Listeners are addresses of listeners, as they are written there. Default:
	// every listener. nginx: the listen of a server.
	Listeners []string `yaml:"listeners,omitempty"`
	// Hosts are names, wildcards or expressions. Default: every host. nginx:
	// server_name.
	Hosts []unit.HostPattern `yaml:"hosts,omitempty"`
	// Paths are patterns in nginx's location syntax. Default: every path.
	Paths []unit.Pattern `yaml:"paths,omitempty"`
	// Methods are request methods, in capitals; GET includes HEAD. Default:
	// every method. nginx: limit_except.
	Methods []string `yaml:"methods,omitempty"`
	// Headers asks for header values by name: a text, "*", "!", "~ re".
	Headers map[string]unit.ValuePattern `yaml:"headers,omitempty"`
	// Query asks the same of query arguments; the first of a name counts.
	Query map[string]unit.ValuePattern `yaml:"query,omitempty"`
}
