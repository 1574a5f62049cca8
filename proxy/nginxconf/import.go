package nginxconf

import (
	"cmp"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Left is a directive that was not carried over, or not exactly.
type Left struct {
	File      string // base name
	Line      int
	Directive string
	Why       string
}

// String is the line that is printed: file:line: directive: why.
func (l Left) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", l.File, l.Line, l.Directive, l.Why)
}

// Result is what an import yields.
type Result struct {
	YAML []byte // a perigee.yaml
	Left []Left // what is not in it, by file and line
}

// Import reads the nginx.conf at path with its includes. prefix is nginx's -p;
// when it is empty it is the folder of the file, or the one above when that is
// called conf, as nginx is installed. The error names file and line of what
// nginx could not read either.
func Import(path, prefix string) (Result, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Result{}, err
	}
	root := filepath.Dir(path)
	if prefix == "" {
		if prefix = root; filepath.Base(root) == "conf" {
			prefix = filepath.Dir(root)
		}
	}
	list, err := (&reader{root: root}).file(path, 0)
	if err != nil {
		return Result{}, err
	}
	conf, err := filepath.Rel(prefix, root)
	if err != nil {
		conf = root
	}
	m := &importer{conf: conf, out: output{prefix: filepath.Clean(prefix), workers: 1, headerBytes: "32KiB"}, names: make(map[string]bool)}
	defer m.compiler.close()
	m.main(list)
	slices.SortStableFunc(m.left, func(a, b Left) int { return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line)) })
	m.left = slices.Compact(m.left) // of servers that were looked at from two sides
	text, err := m.out.yaml()
	return Result{YAML: text, Left: m.left}, err
}

// importer walks the directives and fills the output.
type importer struct {
	out        output
	left       []Left
	names      map[string]bool   // of routes
	named      map[string]string // routes of a server's named locations
	reserved   map[string]string // names for such routes that are still free
	single     bool              // there is one server
	resolves   bool              // a resolver is given somewhere
	conf       string            // folder of the main file, from prefix: certificates' paths start there
	compiler   compiler
	formats    map[string]logging // log_format
	realIPFrom string             // real_ip_header
	trust      []*directive       // set_real_ip_from
	zones      map[string]zone    // limit_req_zone, limit_conn_zone
	counters   map[string]limited // the numbers of limits, by their names
}

func (m *importer) leave(d *directive, format string, values ...any) {
	m.left = append(m.left, Left{File: d.file, Line: d.line, Directive: d.name, Why: fmt.Sprintf(format, values...)})
}

// meaningless are directives whose matter perigee decides itself, without a
// difference that a client could see.
func meaningless(name string) bool {
	switch name {
	case "events", "pid", "user", "daemon", "master_process", "worker_rlimit_nofile", "worker_connections",
		"load_module", "lock_file", "pcre_jit", "worker_cpu_affinity", "timer_resolution",
		"client_body_in_single_buffer", "proxy_temp_path", "fastcgi_temp_path", "uwsgi_temp_path", "scgi_temp_path",
		"sendfile", "tcp_nopush", "tcp_nodelay", "types_hash_max_size", "types_hash_bucket_size",
		"server_names_hash_bucket_size", "server_names_hash_max_size", "variables_hash_max_size",
		"variables_hash_bucket_size", "client_header_buffer_size":
		return true
	}
	return false
}

func (m *importer) main(list []*directive) {
	for _, d := range list {
		switch {
		case d.name == "http":
			m.http(d)
		case d.name == "worker_processes":
			m.workers(d)
		case d.name == "error_log":
			m.errorLog(d)
		case d.name == "thread_pool":
			m.threadPool(d)
		case !meaningless(d.name):
			m.leave(d, "has no equivalent")
		}
	}
}

func (m *importer) workers(d *directive) {
	n, err := strconv.Atoi(d.arg(0))
	if d.arg(0) == "auto" {
		n, err = 0, nil
	}
	if err != nil || n < 0 || n > 1024 {
		m.leave(d, "%q is no number of workers", d.arg(0))
		return
	}
	m.out.workers = n
}

func (m *importer) errorLog(d *directive) {
	path := d.arg(0)
	switch {
	case path == "stderr":
		path = "-"
	case strings.HasPrefix(path, "syslog:") || strings.HasPrefix(path, "memory:"):
		m.leave(d, "the log goes to a file or to standard error")
		return
	}
	level := "error"
	if len(d.args) > 1 {
		level = d.args[1]
		if strings.HasPrefix(level, "debug_") {
			level = "debug"
		}
	}
	m.out.logFile, m.out.logLevel = escape(path), level
}

// http carries the http block over.
func (m *importer) http(d *directive) {
	m.reserved = make(map[string]string)
	m.reserve(d.block)
	top := scope{lua: make(map[string]*lua), files: nginxFiles()}
	var servers []*directive
	for _, child := range d.block {
		switch child.name {
		case "server":
			servers = append(servers, child)
		case "upstream":
			m.upstream(child)
		default:
			m.once(child, &top)
		}
	}
	m.out.bodyBuffer = top.files.bodyBuffer
	m.single = len(servers) == 1
	for _, s := range m.servers(servers, d) {
		views := m.views(s)
		if len(views) == 0 {
			m.leave(s.d, "nothing reaches it: it is no address's default server and has no name")
		}
		for _, v := range views {
			m.server(s, v, top)
		}
	}
	m.believed()
	m.slashes()
	m.unknown(d.block)
	m.unresolved()
	if len(m.out.routes) == 0 { // a configuration needs one; nothing is served by these servers
		m.out.routes = append(m.out.routes, route{name: "root", path: "/", respond: &respond{status: 404}})
	}
}

// once carries over what may stand in the http block alone, then what locations
// know too.
func (m *importer) once(d *directive, s *scope) {
	o := &m.out
	switch d.name {
	case "lua_shared_dict":
		size, ok := size(d.arg(1))
		if !ok {
			m.leave(d, "%q is no size", d.arg(1))
			return
		}
		o.dicts = append(o.dicts, pair{d.arg(0), size})
	case "lua_capture_error_log":
		size, ok := size(d.arg(0))
		if !ok {
			m.leave(d, "%q is no size", d.arg(0))
			return
		}
		o.luaCapture = size
	case "lua_package_path":
		o.luaPath = searchPath(d.arg(0))
	case "lua_package_cpath":
		o.luaCPath = searchPath(d.arg(0))
	case "lua_regex_cache_max_entries":
		m.regex(d, "cache_entries")
	case "lua_max_pending_timers":
		m.timers(d, "pending")
	case "lua_max_running_timers":
		m.timers(d, "running")
	case "lua_worker_thread_vm_pool_size":
		m.threadVMs(d)
	case "lua_regex_match_limit":
		m.regex(d, "match_limit")
	case "init_by_lua", "init_by_lua_block", "init_by_lua_file":
		o.init = m.source(d)
	case "init_worker_by_lua", "init_worker_by_lua_block", "init_worker_by_lua_file":
		if o.initWorker = m.source(d); o.initWorker != nil {
			m.broken(d, o.initWorker, logged)
		}
	case "exit_worker_by_lua", "exit_worker_by_lua_block", "exit_worker_by_lua_file":
		o.exitWorker = m.source(d)
	case "error_log":
		m.errorLog(d)
	case "log_format":
		m.logFormat(d)
	case "map":
		m.mapBlock(d)
	case "geo":
		m.geoBlock(d)
	case "limit_req_zone", "limit_conn_zone":
		m.zone(d)
	default:
		if !m.sockets(d, &o.sockets) {
			m.shared(d, s)
		}
	}
}

var prefixVariable = regexp.MustCompile(`\$(?:prefix\b|\{prefix\})/*`)

// searchPath makes patterns that start with nginx's $prefix relative: those
// start at prefix. The variable ends in a slash itself.
func searchPath(text string) string {
	return escape(prefixVariable.ReplaceAllString(text, ""))
}

// server carries one server over, as some of its addresses see it.
func (m *importer) server(server *server, v view, top scope) {
	d := server.d
	s := top.inside()
	s.hosts, s.listeners, s.port = v.hosts, v.listeners, v.port
	m.named = make(map[string]string)
	m.nameNamed(d.block)
	var locations []*directive
	for _, child := range d.block {
		switch child.name {
		case "listen", "server_name":
		case "location":
			locations = append(locations, child)
		case "error_log":
			m.errorLog(child)
		default:
			m.shared(child, &s)
		}
	}
	if m.early(d, &s) {
		return
	}
	whole := false
	for _, l := range locations {
		whole = whole || len(l.args) == 1 && l.args[0] == "/"
		m.location(l, s)
	}
	early := s.lua["rewrite"] != nil || s.lua["access"] != nil
	if !whole && (len(v.hosts)+len(v.listeners) > 0 || early || m.there(&s.files)) {
		m.location(&directive{name: "location", args: []string{"/"}, file: d.file, line: d.line}, s)
	}
}

// early carries over what a server does before it looks for a location. True:
// it answers everything.
func (m *importer) early(d *directive, s *scope) bool {
	switch {
	case len(s.steps) == 0:
	case len(s.steps) == 1 && answers(s.steps):
		root := &directive{name: "location", args: []string{"/"}, file: d.file, line: d.line}
		inner := s.inside()
		inner.steps = s.steps
		m.route(root, "/", inner)
		return true
	case m.single && onlySets(s.steps):
		for _, st := range s.steps {
			m.out.variable(st.set[0].name, st.set[0].value)
		}
	default:
		if len(s.branches) > 0 {
			m.leave(s.branches[0].d, "of a server's if only what rewrites is carried over")
			s.steps = slices.DeleteFunc(s.steps, func(st step) bool { return st.cond != "" && st.empty() })
		}
		r := route{name: m.name(&directive{args: []string{"server"}}), before: true, hosts: s.hosts, listeners: s.listeners, steps: s.steps, computed: s.computed,
			add: s.add, log: s.log, pages: s.pages, typ: s.defaultType(), lua: make(map[string]*lua)}
		for _, stage := range []string{"header_filter", "body_filter", "log"} {
			if s.lua[stage] != nil {
				r.lua[stage] = s.lua[stage]
			}
		}
		m.out.routes = append(m.out.routes, r)
	}
	s.steps, s.computed, s.branches = nil, nil, nil
	return false
}

// hosts writes server_name's patterns in perigee's syntax.
func hosts(names []string) []string {
	var list []string
	for _, name := range names {
		switch {
		case name == "" || name == "_":
		case strings.HasPrefix(name, "~"):
			list = append(list, escape("~ "+name[1:]))
		case strings.HasSuffix(name, ".*"):
			list = append(list, "~ ^"+regexp.QuoteMeta(strings.TrimSuffix(name, "*")))
		case strings.HasPrefix(name, "."):
			list = append(list, name[1:], "*"+name)
		default:
			list = append(list, name)
		}
	}
	return list
}
