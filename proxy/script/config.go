// Package script runs the Lua of a route at the stages that have some.
package script

import (
	"fmt"
	"iter"
	"math"
	"regexp"
	"sort"
	"strings"

	"perigee/proxy/unit"
)

// Config is a route's lua block: one script for each stage that wants one.
type Config struct {
	// ServerRewrite runs first. If it sets the path, without a jump, the request
	// is matched again by that, and its new route's server_rewrite does not run.
	// nginx: server_rewrite_by_lua.
	ServerRewrite *Source `yaml:"server_rewrite,omitempty"`
	// Set are scripts whose return values become variables of their names, when
	// the route's rewrite steps say so; those that no step names run before all
	// steps. nginx: set_by_lua.
	Set map[string]*SetSource `yaml:"set,omitempty"`
	// Rewrite runs then, before access; the place to change the URI. nginx:
	// rewrite_by_lua.
	Rewrite *Source `yaml:"rewrite,omitempty"`
	// Access decides whether the request may go on. nginx: access_by_lua.
	Access *Source `yaml:"access,omitempty"`
	// Content makes the response; the route then has no upstream. nginx:
	// content_by_lua.
	Content *Source `yaml:"content,omitempty"`
	// HeaderFilter may change the response head before it is sent. nginx:
	// header_filter_by_lua.
	HeaderFilter *Source `yaml:"header_filter,omitempty"`
	// BodyFilter sees each chunk of the response body as it streams by. nginx:
	// body_filter_by_lua.
	BodyFilter *Source `yaml:"body_filter,omitempty"`
	// Log runs when the exchange is over. nginx: log_by_lua.
	Log *Source `yaml:"log,omitempty"`
	// Modules are those that these scripts may require; an empty list allows
	// none. Default: every module that lua.sandbox allows.
	Modules []string `yaml:"modules,omitempty"`
	// Socket changes for this route's scripts what lua.socket says for all.
	Socket *Socket `yaml:"socket,omitempty"`
	// SSL changes for this route's scripts what lua.ssl says for all.
	SSL *SSL `yaml:"ssl,omitempty"`
	// WaitEverywhere lets scripts wait, for time, sockets, threads and
	// semaphores, in header_filter, body_filter and log, too. Default false:
	// there they are told, as in OpenResty, that it is disabled. What waits in log
	// holds up the next request of its connection.
	WaitEverywhere bool `yaml:"wait_everywhere"`
	// CheckClientAbort ends the rewrite, access and content scripts of a client
	// that leaves, with status 499, or runs what they gave to ngx.on_abort.
	// Otherwise they run to their ends. nginx: lua_check_client_abort.
	CheckClientAbort bool `yaml:"check_client_abort,omitempty"`
	// HTTP10Buffering gathers what scripts print for clients that speak HTTP/1.0
	// until its length is known. Default true; false sends it as it comes and
	// ends the connection behind it. nginx: lua_http10_buffering.
	HTTP10Buffering bool `yaml:"http10_buffering"`
	// TransformUnderscores makes ngx.header.a_b the field a-b. Default true.
	// nginx: lua_transform_underscores_in_response_headers.
	TransformUnderscores bool `yaml:"transform_underscores"`
}

// SetDefaults gives every field that has one its default.
func (c *Config) SetDefaults() { c.HTTP10Buffering, c.TransformUnderscores = true, true }

// Sources yields the scripts that are set with their key, in stage order.
func (c *Config) Sources() iter.Seq2[string, *Source] {
	return func(yield func(string, *Source) bool) {
		for _, s := range [...]struct {
			key    string
			source *Source
		}{
			{"server_rewrite", c.ServerRewrite}, {"rewrite", c.Rewrite}, {"access", c.Access}, {"content", c.Content},
			{"header_filter", c.HeaderFilter}, {"body_filter", c.BodyFilter}, {"log", c.Log},
		} {
			if s.source != nil && !yield(s.key, s.source) {
				return
			}
		}
	}
}

// Variables are the names in Set, sorted.
func (c *Config) Variables() []string {
	names := make([]string, 0, len(c.Set))
	for name := range c.Set {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Check reports scripts that say both or neither of inline text and file.
func (c *Config) Check() []unit.Problem {
	var problems []unit.Problem
	for key, source := range c.Sources() {
		problems = append(problems, source.Check(key)...)
	}
	for i, name := range c.Modules {
		if name == "" || strings.ContainsAny(name, "\n\r\x00") {
			problems = append(problems, unit.Problem{Path: fmt.Sprintf("modules[%d]", i), Message: fmt.Sprintf("%q is no name of a module", name), Hint: "write it as require takes it"})
		}
	}
	for name, set := range c.Set {
		at := unit.Join("set", name)
		if set.Script == nil {
			problems = append(problems, unit.Problem{Path: at, Message: "a variable without a script", Hint: "add script"})
			continue
		}
		problems = append(problems, set.Script.Check(at+".script")...)
	}
	problems = append(problems, c.Socket.Check("socket")...)
	return append(problems, c.SSL.Check("ssl")...)
}

// Source is a piece of Lua in the configuration.
type Source = unit.Source

// Settings is the configuration's top-level lua block: what all VMs share.
type Settings struct {
	// Path is where require looks for Lua files: patterns with ?, separated by
	// semicolons, relative ones from prefix. ";;" stands for LuaJIT's default.
	// nginx: lua_package_path.
	Path string `yaml:"path" config:"pathlist"`
	// CPath is the same for Lua modules written in C. nginx: lua_package_cpath.
	CPath string `yaml:"cpath" config:"pathlist"`
	// SharedDicts are dictionaries that all VMs see, by name, with the memory of
	// each. One keeps its content over a reload while name and size stay. nginx:
	// lua_shared_dict.
	SharedDicts map[string]unit.Size `yaml:"shared_dicts,omitempty"`
	// CPUBudget is how long a script may run between two waits before it is
	// stopped with an error. Default 100ms; 0 switches the watch off. nginx has
	// no such limit: an endless loop there stops a worker.
	CPUBudget unit.Duration `yaml:"cpu_budget"`
	// TotalTime is how long one phase of one exchange may take, its waits
	// included. Default 60s; 0 means no limit.
	TotalTime unit.Duration `yaml:"total_time"`
	// MemoryLimit bounds the heap of each VM; a script that needs more fails
	// alone. Default 0: 256MiB, or an eighth of the cgroup's limit shared by the
	// VMs when that is less.
	MemoryLimit unit.Size `yaml:"memory_limit"`
	// BrokenScripts says what becomes of a route's script that does not compile
	// or whose file cannot be read: refuse (default) the whole configuration,
	// or answer, as nginx does, each request that comes to it with 500, or 404
	// where the file is missing. An init_worker that cannot run is logged then.
	BrokenScripts BrokenScripts `yaml:"broken_scripts"`
	// Timers bounds ngx.timer.
	Timers Timers `yaml:"timers"`
	// Threads is what ngx.run_worker_thread runs functions in.
	Threads Threads `yaml:"threads,omitempty"`
	// Drain is how long handlers of timers may run on once their configuration
	// was replaced: those that are pending fire at once then, as premature.
	// Default 30s. At the process's end it is drain.timeout that bounds them.
	Drain unit.Duration `yaml:"drain"`
	// Regex bounds ngx.re.
	Regex Regex `yaml:"regex"`
	// CodeCache keeps VMs and their Lua from one exchange to the next. Default
	// true; false, for development, makes a VM for each exchange that reads all
	// scripts and modules anew: what they keep in variables is lost, and each
	// exchange takes a millisecond longer. nginx: lua_code_cache.
	CodeCache bool `yaml:"code_cache"`
	// CaptureErrorLog is how much of the process log is kept in memory for
	// ngx.errlog.get_logs, shared by all VMs; a reload empties it. Default 0:
	// nothing. nginx: lua_capture_error_log (per worker there).
	CaptureErrorLog unit.Size `yaml:"capture_error_log"`
	// RequestMemory bounds by how much one script may make its VM's heap grow
	// between two waits; what needs more fails alone. Default 0: MemoryLimit is
	// the only bound.
	RequestMemory unit.Size `yaml:"request_memory"`
	// Sandbox says how far scripts are trusted. trusted (default): they may do
	// what the process may. strict: no ffi, io, os, debug and bytecode, globals
	// of their own, an API that cannot be changed; for scripts of tenants. They
	// may still use the network.
	Sandbox Sandbox `yaml:"sandbox"`
	// Socket is how ngx.socket behaves unless a script or its route says
	// otherwise.
	Socket Socket `yaml:"socket,omitempty"`
	// SSL is how sslhandshake of sockets speaks TLS and whom it trusts.
	SSL SSL `yaml:"ssl,omitempty"`
	// Init runs once in every VM when it is made, before any request. nginx:
	// init_by_lua, which runs once per process: what it writes to shared
	// dictionaries must bear repetition.
	Init *Source `yaml:"init,omitempty"`
	// InitWorker runs once in every VM after init and may start timers. nginx:
	// init_worker_by_lua.
	InitWorker *Source `yaml:"init_worker,omitempty"`
	// InitWorkerWaits lets init_worker wait, for time, sockets, threads and
	// semaphores, total_time at most; nothing is served before it has ended.
	// Default false: there it is told, as in OpenResty, that it is disabled.
	InitWorkerWaits bool `yaml:"init_worker_waits"`
	// ExitWorker runs once in every VM when its time is over: at the process's
	// end, and when a reload has replaced it and its last exchange has ended.
	// nginx: exit_worker_by_lua.
	ExitWorker *Source `yaml:"exit_worker,omitempty"`
}

// Timers is how many timers of ngx.timer each VM may have.
type Timers struct {
	// Pending is how many may wait for their time; beyond it ngx.timer.at answers
	// "too many pending timers". Default 1024. nginx: lua_max_pending_timers.
	Pending int `yaml:"pending"`
	// Running is how many handlers may be under way; beyond it a timer that is
	// due is logged and not run. Default 256. nginx: lua_max_running_timers.
	Running int `yaml:"running"`
}

// SetDefaults gives both their defaults.
func (t *Timers) SetDefaults() { t.Pending, t.Running = 1024, 256 }

func (t *Timers) check(report func(path, message, hint string)) {
	const most = math.MaxInt32
	if t.Pending < 0 || t.Pending > most {
		report("timers.pending", fmt.Sprintf("%d is no number of timers", t.Pending), "write 0 for none, or a number such as 1024")
	}
	if t.Running < 0 || t.Running > most {
		report("timers.running", fmt.Sprintf("%d is no number of timers", t.Running), "write 0 for none, or a number such as 256")
	}
}

// Regex is what ngx.re may cost.
type Regex struct {
	// CacheEntries is how many patterns with the option o each VM keeps compiled;
	// those not used for long make room. Default 1024; 0 keeps none. nginx:
	// lua_regex_cache_max_entries.
	CacheEntries int `yaml:"cache_entries"`
	// MatchLimit is how many steps one match may take before it fails with
	// pcre_exec()'s -8. Default 0: ten million, PCRE's own. Whatever it is, a
	// match that uses up cpu_budget ends like any other script. nginx:
	// lua_regex_match_limit.
	MatchLimit int `yaml:"match_limit"`
}

// SetDefaults sets the size of the cache.
func (r *Regex) SetDefaults() { r.CacheEntries = 1024 }

func (r *Regex) check(report func(path, message, hint string)) {
	const most = math.MaxInt32
	if r.CacheEntries < 0 || r.CacheEntries > most {
		report("regex.cache_entries", fmt.Sprintf("%d patterns cannot be kept", r.CacheEntries), "write 0 to keep none, or a number of patterns such as 1024")
	}
	if r.MatchLimit < 0 || r.MatchLimit > most {
		report("regex.match_limit", fmt.Sprintf("%d is no number of steps", r.MatchLimit), "write 0 for PCRE's own limit, or a number such as 100000")
	}
}

// Sandbox is how far scripts are trusted.
type Sandbox string

// The tiers.
const (
	Trusted Sandbox = "trusted"
	Strict  Sandbox = "strict"
)

// Values are the words that are accepted.
func (Sandbox) Values() []string { return []string{string(Trusted), string(Strict)} }

// SetDefaults gives every field that has one its default; the loader calls it
// before it reads the configuration's keys.
func (s *Settings) SetDefaults() {
	s.Sandbox = Trusted
	s.Path = ";;"
	s.CPath = ";;"
	s.CodeCache = true
	s.BrokenScripts = RefuseBroken
	s.CPUBudget = unit.Duration(100e6)
	s.TotalTime = unit.Duration(60e9)
	s.Drain = unit.Duration(30e9)
}

// Sources yields the scripts that are set with their key, in the order in which
// they run.
func (s *Settings) Sources() iter.Seq2[string, *Source] {
	return func(yield func(string, *Source) bool) {
		if s.Init != nil && !yield("init", s.Init) {
			return
		}
		if s.InitWorker != nil && !yield("init_worker", s.InitWorker) {
			return
		}
		if s.ExitWorker != nil {
			yield("exit_worker", s.ExitWorker)
		}
	}
}

// The bounds of settings: below, Lua itself or a dictionary cannot work.
const (
	minMemory        = 4 * unit.MiB
	minRequestMemory = 64 * unit.KiB
	minDict          = 12 * unit.KiB // nginx's smallest lua_shared_dict
	// what the longest line needs, as in nginx, and what offsets can count
	minCapture, maxCapture = 2 * unit.KiB, unit.GiB
)

var dictName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// Check reports settings that no VM could be built with.
func (s *Settings) Check() []unit.Problem {
	var problems []unit.Problem
	report := func(path, message, hint string) {
		problems = append(problems, unit.Problem{Path: path, Message: message, Hint: hint})
	}
	for name, size := range s.SharedDicts {
		path := unit.Join("shared_dicts", name)
		if !dictName.MatchString(name) {
			report("shared_dicts", fmt.Sprintf("dictionary name %q is not usable as ngx.shared.NAME", name), "start with a letter, then letters, digits, _, . and -")
		} else if size < minDict {
			report(path, fmt.Sprintf("size %q is too small for a dictionary", size), "write at least "+minDict.String())
		}
	}
	if s.MemoryLimit != 0 && s.MemoryLimit < minMemory {
		report("memory_limit", fmt.Sprintf("size %q is too small for a VM", s.MemoryLimit), "write at least "+minMemory.String()+", or 0 for the default")
	}
	if c := s.CaptureErrorLog; c != 0 && (c < minCapture || c > maxCapture) {
		report("capture_error_log", fmt.Sprintf("size %q cannot hold log lines", c), fmt.Sprintf("write %v to %v, or 0 for none", minCapture, maxCapture))
	}
	if s.RequestMemory != 0 && s.RequestMemory < minRequestMemory {
		report("request_memory", fmt.Sprintf("size %q is too small for a script", s.RequestMemory), "write at least "+minRequestMemory.String()+", or 0 for no bound of its own")
	}
	if s.CPUBudget != 0 && s.CPUBudget.Std() < 1e6 {
		report("cpu_budget", fmt.Sprintf("duration %q is shorter than the watch can measure", s.CPUBudget), "write at least 1ms, or 0 for no limit")
	}
	if s.CPUBudget != 0 && s.TotalTime != 0 && s.TotalTime < s.CPUBudget {
		report("total_time", fmt.Sprintf("duration %q is shorter than cpu_budget %q", s.TotalTime, s.CPUBudget), "raise total_time, or write 0 for no limit")
	}
	s.Timers.check(report)
	s.Threads.check(report)
	if s.Drain < 0 {
		report("drain", fmt.Sprintf("duration %q is negative", s.Drain), "write how long timers may run on, such as 30s")
	}
	s.Regex.check(report)
	for key, source := range s.Sources() {
		problems = append(problems, source.Check(key)...)
	}
	problems = append(problems, s.Socket.Check("socket")...)
	return append(problems, s.SSL.Check("ssl")...)
}
