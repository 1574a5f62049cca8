package nginxconf

import (
	"strconv"
	"strings"

	"perigee/proxy/unit"
)

// scope is what directives inside a block inherit from those around it.
type scope struct {
	hosts     []string
	listeners []string
	port      string
	lua       map[string]*lua // by stage
	add       []addition      // add_header
	readBody  bool            // lua_need_request_body
	typ       string          // default_type
	pages     []errorPage     // error_page
	bare      bool            // lua_use_default_type off
	bodySize  string          // client_max_body_size, "" for nginx's
	log       logging         // access_log
	peers     []peerRule      // allow, deny
	rates     rates           // limit_req, limit_conn
	sending   sending         // how requests are sent on
	files     files           // root, index and their like
	sockets   sockets         // of ngx.socket, beyond the http block's
	gzip      compression
	options   []pair // of route.lua, beside its scripts

	// These belong to the block itself.
	steps    []step
	branches []branch
	computed []computed
	content  *directive // its content handler: content_by_lua or proxy_pass
	own      map[string]bool
	internal bool
}

// inside is the scope of a block in s.
func (s scope) inside() scope {
	inner := s
	inner.lua = make(map[string]*lua, len(s.lua))
	for stage, source := range s.lua {
		inner.lua[stage] = source
	}
	inner.steps, inner.branches, inner.computed = nil, nil, nil
	inner.pages = s.pages[:len(s.pages):len(s.pages)]
	inner.content, inner.own, inner.files.try = nil, make(map[string]bool), nil
	return inner
}

// location carries a location and those in it over, each as a route: nginx
// searches nested ones after the one around them, and patterns inside are
// longer.
func (m *importer) location(d *directive, s scope) {
	pattern, ok := m.pattern(d)
	if !ok {
		return
	}
	s = s.inside()
	s.internal = strings.HasPrefix(d.arg(0), "@")
	for _, child := range d.block {
		switch child.name {
		case "location":
		case "internal":
			s.internal = true
		case "proxy_pass":
			s.content = child
		default:
			m.shared(child, &s)
		}
	}
	for _, child := range d.block {
		if child.name == "location" {
			m.location(child, s)
		}
	}
	m.route(d, pattern, s)
}

// pattern is the location's match in perigee's syntax.
func (m *importer) pattern(d *directive) (string, bool) {
	text := strings.Join(d.args, " ")
	if strings.HasPrefix(text, "@") {
		return "= /" + text, true // no client can ask for it: the route is internal
	}
	if _, err := unit.ParsePattern(text); err != nil {
		m.leave(d, "%v", err)
		return "", false
	}
	return text, true
}

// route makes the route of a location whose scope is s.
func (m *importer) route(d *directive, pattern string, s scope) {
	name := m.named[d.arg(0)]
	if name == "" || m.taken(name) {
		name = m.name(d)
	}
	r := route{name: name, hosts: s.hosts, listeners: s.listeners, path: escapeBraces(pattern), internal: s.internal, lua: s.lua, add: s.add, pages: s.pages, peers: s.peers, log: s.log, bodySize: s.bodySize}
	r.typ = s.defaultType()
	if strings.HasPrefix(d.arg(0), "@") {
		delete(r.lua, "server_rewrite") // a named location is entered behind it
	}
	r.steps, r.computed = m.branchRoutes(d, s), s.computed
	switch {
	case answers(r.steps):
		for _, stage := range []string{"rewrite", "access", "content"} {
			delete(r.lua, stage) // they come too late
		}
		r.peers, s.rates = nil, rates{}
		if len(r.steps) == 1 {
			r.respond, r.steps = r.steps[0].respond, nil
		}
	case s.content != nil && s.content.name == "proxy_pass":
		delete(r.lua, "content")
		m.proxy(&r, s, pattern)
	case s.content == nil:
		delete(r.lua, "content") // a content handler is not inherited
		m.serve(d, &r, s)
	}
	if r.static == nil {
		m.untried(s)
	}
	r.charset, r.modified, r.sockets = s.files.charset, s.files.modified, s.sockets
	r.options, r.gzip = s.options, s.gzip
	if r.static == nil && s.files.given && s.files.alias == "" && !strings.Contains(s.files.root, "$") {
		r.root = s.files.root // scripts ask for $document_root
	}
	if s.files.bodyBuffer != m.out.bodyBuffer {
		r.bodyBuffer = s.files.bodyBuffer
	}
	m.prelude(&r, s)
	if r.respond == nil && r.upstream+r.target == "" && r.static == nil && len(r.steps) == 0 && r.lua["content"] == nil && r.lua["rewrite"] == nil && r.lua["access"] == nil {
		if pattern == "/" && len(s.hosts)+len(s.listeners) == 0 && len(r.lua) == 0 {
			return // what no route serves is answered 404
		}
		r.respond = &respond{status: 404}
	}
	r.limits = m.limited(&s.rates)
	m.out.routes = append(m.out.routes, r)
}

// reserve keeps names for named locations before others take them: scripts go
// by these.
func (m *importer) reserve(list []*directive) {
	for _, d := range list {
		if name := d.arg(0); d.name == "location" && strings.HasPrefix(name, "@") && m.reserved[name] == "" {
			m.reserved[name] = m.name(d)
		}
		m.reserve(d.block)
	}
}

// nameNamed gives a server's named locations their routes' names.
func (m *importer) nameNamed(list []*directive) {
	for _, d := range list {
		if name := d.arg(0); d.name == "location" && strings.HasPrefix(name, "@") && m.named[name] == "" {
			if m.named[name] = m.reserved[name]; m.taken(m.named[name]) {
				m.named[name] = m.name(d)
			}
		}
		m.nameNamed(d.block)
	}
}

// taken tells whether a route has the name already: of another server's
// location of that name.
func (m *importer) taken(name string) bool {
	for i := range m.out.routes {
		if m.out.routes[i].name == name {
			return true
		}
	}
	return false
}

// name makes a route's name from the location's path.
func (m *importer) name(d *directive) string {
	var b strings.Builder
	for _, c := range []byte(strings.Trim(d.args[len(d.args)-1], "/@^$")) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '.' && b.Len() > 0:
			b.WriteByte(c)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	base := strings.TrimRight(b.String(), "-")
	if base == "" {
		base = "root"
	}
	return m.unique(base)
}

// unique makes a name that no other route has.
func (m *importer) unique(base string) string {
	base = base[:min(len(base), 100)]
	name := base
	for i := 2; m.names[name]; i++ {
		name = base + "-" + strconv.Itoa(i)
	}
	m.names[name] = true
	return name
}

// shared carries over what may stand in http, server and location alike.
func (m *importer) shared(d *directive, s *scope) {
	if stage, found := luaStage(d.name); found {
		if source := m.script(d, stage); source != nil {
			s.lua[stage] = source
			if stage == "content" {
				s.content = d
			}
		}
		return
	}
	if m.steps(d, s, "") || m.sockets(d, &s.sockets) || m.sending(d, s) || m.gzip(d, &s.gzip) || m.access(d, s) || m.rates(d, &s.rates, s.own) {
		return
	}
	switch d.name {
	case "lua_need_request_body":
		s.readBody = d.arg(0) == "on"
	case "add_header":
		m.addHeader(d, s)
	case "client_max_body_size":
		m.bodySize(d, s)
	case "default_type":
		s.typ = d.arg(0)
	case "lua_use_default_type":
		s.bare = d.arg(0) == "off"
	case "lua_check_client_abort", "lua_http10_buffering", "lua_transform_underscores_in_response_headers":
		s.option(d)
	case "error_page":
		m.errorPage(d, s)
	case "access_log":
		m.accessLog(d, s)
	default:
		if !m.files(d, s) {
			m.limits(d)
		}
	}
}

// inherit adds a header to a list that replaces the inherited one as a whole,
// as nginx's lists do.
func (m *importer) inherit(d *directive, list *[]pair, s *scope) {
	value, err := template(d.arg(1))
	if err != nil {
		m.leave(d, "%v", err)
		return
	}
	if s.own != nil && !s.own[d.name] {
		*list, s.own[d.name] = nil, true
	}
	*list = append((*list)[:len(*list):len(*list)], pair{d.arg(0), value})
}

func (m *importer) respond(d *directive) *respond {
	status, err := strconv.Atoi(d.arg(0))
	text := d.arg(1)
	if err != nil {
		status, text = 302, d.arg(0)
	}
	value, err := template(text)
	switch {
	case err != nil:
		m.leave(d, "%v", err)
		return nil
	case status < 200 || status > 599:
		m.leave(d, "status %d is no answer", status)
		return nil
	case status == 301 || status == 302 || status == 303 || status == 307 || status == 308:
		return &respond{status: status, location: value}
	}
	return &respond{status: status, body: value}
}
