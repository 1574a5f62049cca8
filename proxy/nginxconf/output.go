package nginxconf

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// pair is a name with its value, where the order of the input is kept.
type pair struct{ name, value string }

// output is what has been carried over. Texts are as they stand in the YAML,
// dollars escaped.
type output struct {
	prefix, logFile, logLevel string
	access                    logging
	workers                   int
	bodyBytes, headerBytes    string
	bodyBuffer, bodyTemp      string
	relative                  bool // absolute_redirect off
	limits, dicts, variables  []pair
	timers, regex             []pair
	luaPath, luaCPath         string
	luaCapture, threadVMs     string
	threadPools               []threadPool
	fresh                     bool // lua_code_cache off
	sockets                   sockets
	trusted                   []string
	maps                      []lookup
	init, initWorker          *lua
	exitWorker                *lua
	broken                    bool // there are scripts that nginx starts with but cannot run
	listeners                 []*listener
	upstreams                 []upstream
	routes                    []route
	typ                       string
	pages                     []errorPage
}

type upstream struct {
	name, host     string
	idle, idleTime string
	tls            bool
	peer           *peerTLS
	endpoints      []endpoint
	balancer       *lua
}

type endpoint struct{ address, weight string }

type respond struct {
	status         int
	location, body string
}

type route struct {
	name, path        string
	before            bool
	steps             []step
	computed          []computed
	hosts             []string
	listeners         []string
	internal          bool
	lua               map[string]*lua
	respond           *respond
	upstream, target  string
	log               logging
	peers             []peerRule
	limits            []limited
	sending           sending
	add               []addition
	bodySize          string
	typ               string
	pages             []errorPage
	noPages           bool // none, though there are some for all routes
	static            *files
	try               []string // try_files
	sockets           sockets
	charset, modified string
	root, bodyBuffer  string
	options           []pair
	gzip              compression
}

// variable notes a variable; a value wins over none.
func (o *output) variable(name, value string) {
	for i := range o.variables {
		if o.variables[i].name == name {
			return
		}
	}
	o.variables = append(o.variables, pair{name, value})
}

// mapping builds a YAML mapping in order; nothing empty is written.
type mapping struct{ node *yaml.Node }

func newMapping() mapping { return mapping{&yaml.Node{Kind: yaml.MappingNode}} }

func scalar(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(text)
	return n
}

func (m mapping) add(key string, value *yaml.Node) {
	if (value.Kind == yaml.MappingNode || value.Kind == yaml.SequenceNode) && len(value.Content) == 0 {
		return
	}
	m.node.Content = append(m.node.Content, scalar(key), value)
}

// text adds a text. Numbers, sizes and switches go without quotes: the encoder
// quotes what YAML would read as another type, so those come as plain.
func (m mapping) text(key, value string) {
	if value != "" {
		m.add(key, scalar(value))
	}
}

// plain adds a number or a word that is not a text.
func (m mapping) plain(key, value string) {
	if value != "" {
		m.add(key, &yaml.Node{Kind: yaml.ScalarNode, Value: value})
	}
}

func (m mapping) pairs(key string, pairs []pair, add func(mapping, pair)) {
	inner := newMapping()
	for _, p := range pairs {
		add(inner, p)
	}
	m.add(key, inner.node)
}

func texts(m mapping, p pair) { m.add(p.name, scalar(p.value)) }

func plains(m mapping, p pair) { m.plain(p.name, p.value) }

// script adds a script: short ones on the line, longer ones as a block.
func (m mapping) script(key string, s *lua) {
	switch {
	case s == nil:
	case s.file != "":
		inner := newMapping()
		inner.text("file", s.file)
		inner.node.Style = yaml.FlowStyle
		m.add(key, inner.node)
	case s.name != "":
		inner := newMapping()
		inner.text("name", s.name)
		inner.add("inline", luaScalar(s.text))
		m.add(key, inner.node)
	default:
		m.add(key, luaScalar(s.text))
	}
}

// luaScalar writes a script of several lines as a block, moved to the left, its
// first line kept even when it is empty: errors name lines as nginx did. A
// block that YAML would not read back as the same text is quoted instead, and
// so are scripts with long brackets, whose blanks may mean something.
func luaScalar(text string) *yaml.Node {
	text = strings.TrimRight(text, " \t\r\n")
	if !strings.Contains(text, "\n") {
		return scalar(strings.TrimLeft(text, " \t"))
	}
	if !strings.Contains(text, "[[") && !strings.Contains(text, "[=") && !strings.Contains(text, "\\\n") {
		text = dedent(text)
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text + "\n", Style: yaml.LiteralStyle}
	var back struct{ S string }
	whole := newMapping()
	whole.add("s", n)
	written, err := yaml.Marshal(whole.node)
	if err == nil && yaml.Unmarshal(written, &back) == nil && back.S == n.Value {
		return n
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: n.Value, Style: yaml.DoubleQuotedStyle}
}

// dedent takes the blanks off that all lines begin with, and those at their
// ends. What stands right behind the opening quote or brace has none to give.
func dedent(text string) string {
	lines := strings.Split(text, "\n")
	common := ""
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " \t\r")
		if i == 0 || lines[i] == "" {
			continue
		}
		margin := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		if common == "" && i == firstFilled(lines) {
			common = margin
		}
		for !strings.HasPrefix(margin, common) {
			common = common[:len(common)-1]
		}
	}
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, common)
	}
	lines[0] = strings.TrimLeft(lines[0], " \t")
	return strings.Join(lines, "\n")
}

// firstFilled is the index of the first line behind line 0 that holds anything.
func firstFilled(lines []string) int {
	for i := 1; i < len(lines); i++ {
		if strings.TrimSpace(lines[i]) != "" {
			return i
		}
	}
	return 0
}

// words is a list of words and numbers that go without quotes.
func words(values []string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, v := range values {
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: v})
	}
	return n
}

func list(values []string, style yaml.Style) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: style}
	for _, v := range values {
		n.Content = append(n.Content, scalar(v))
	}
	return n
}

var topKey = regexp.MustCompile(`(?m)^(variables|maps|default_type|error_pages|error_format|absolute_redirect|listeners|admin|trusted_proxies|limits|lua|upstreams|routes):`)

// yaml writes the whole configuration.
func (o *output) yaml() ([]byte, error) {
	o.raise()
	top := newMapping()
	top.text("prefix", escape(o.prefix))
	top.plain("workers", strconv.Itoa(o.workers))
	log := newMapping()
	log.text("level", o.logLevel)
	log.text("file", o.logFile)
	top.add("log", log.node)
	top.log(o.access)
	top.pairs("variables", o.variables, texts)
	top.maps(o.maps)
	top.typeOf(o.typ)
	top.pages(o.pages)
	top.text("error_format", "html")
	if !o.relative {
		top.plain("absolute_redirect", "true")
	}
	listeners := &yaml.Node{Kind: yaml.SequenceNode}
	for _, l := range o.listeners {
		listeners.Content = append(listeners.Content, l.yaml())
	}
	top.add("listeners", listeners)
	admin := newMapping()
	admin.text("address", "off")
	top.add("admin", admin.node)
	if len(o.trusted) > 0 {
		top.add("trusted_proxies", flow(o.trusted))
	}
	limits := newMapping()
	for _, p := range append([]pair{{"header_bytes", o.headerBytes}, {"body_bytes", o.bodyBytes}, {"body_buffer", o.bodyBuffer}}, o.limits...) {
		limits.plain(p.name, p.value)
	}
	limits.text("body_temp", o.bodyTemp)
	top.add("limits", limits.node)
	top.add("lua", o.lua())
	top.add("upstreams", o.groups())
	routes := &yaml.Node{Kind: yaml.SequenceNode}
	for i := range o.routes {
		routes.Content = append(routes.Content, o.route(&o.routes[i]))
	}
	top.add("routes", routes)
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(top.node); err != nil {
		return nil, err
	}
	return topKey.ReplaceAll(b.Bytes(), []byte("\n$0")), nil
}

func (o *output) lua() *yaml.Node {
	l := newMapping()
	l.text("path", o.luaPath)
	l.text("cpath", o.luaCPath)
	l.pairs("shared_dicts", o.dicts, plains)
	l.pairs("timers", o.timers, plains)
	l.pairs("regex", o.regex, plains)
	l.add("threads", o.threads())
	if o.fresh {
		l.plain("code_cache", "false")
	}
	l.sockets(o.sockets)
	l.plain("capture_error_log", o.luaCapture)
	if o.broken {
		l.text("broken_scripts", "answer")
	}
	l.script("init", o.init)
	l.script("init_worker", o.initWorker)
	l.script("exit_worker", o.exitWorker)
	return l.node
}

func (o *output) groups() *yaml.Node {
	groups := newMapping()
	for _, u := range o.upstreams {
		g := newMapping()
		endpoints := &yaml.Node{Kind: yaml.SequenceNode}
		for _, e := range u.endpoints {
			if e.weight == "" {
				endpoints.Content = append(endpoints.Content, scalar(e.address))
				continue
			}
			one := newMapping()
			one.node.Style = yaml.FlowStyle
			one.text("address", e.address)
			one.plain("weight", e.weight)
			endpoints.Content = append(endpoints.Content, one.node)
		}
		g.add("endpoints", endpoints)
		g.text("host", u.host)
		g.pairs("keepalive", []pair{{"idle", u.idle}, {"idle_timeout", u.idleTime}}, plains)
		attempts := len(u.endpoints)
		if u.balancer != nil {
			scripts := newMapping()
			scripts.script("balancer", u.balancer)
			g.add("lua", scripts.node)
			attempts = 100 // the script says how many there are
		}
		if attempts > 1 {
			(&retry{}).yaml(g, attempts)
		}
		if u.tls {
			if u.peer == nil {
				u.peer = &peerTLS{}
			}
			g.add("tls", u.peer.yaml())
		}
		groups.add(u.name, g.node)
	}
	return groups.node
}

func (o *output) route(r *route) *yaml.Node {
	m := newMapping()
	m.text("name", r.name)
	match := newMapping()
	match.add("listeners", list(r.listeners, yaml.FlowStyle))
	match.add("hosts", list(r.hosts, yaml.FlowStyle))
	if r.path != "" {
		match.add("paths", list([]string{r.path}, yaml.FlowStyle))
	}
	match.node.Style = yaml.FlowStyle
	m.add("match", match.node)
	if r.before {
		m.plain("before", "true")
	}
	if r.internal {
		m.plain("internal", "true")
	}
	m.typeOf(r.typ)
	m.pages(r.pages)
	if r.noPages {
		m.node.Content = append(m.node.Content, scalar("error_pages"), newMapping().node)
	}
	m.steps(r.steps)
	m.peers(r.peers)
	m.limits(r.limits)
	transform := newMapping()
	transform.additions(r.add)
	transform.text("charset", r.charset)
	m.add("transform", transform.node)
	m.add("compress", r.gzip.yaml())
	scripts := newMapping()
	scripts.computed(r.computed)
	for _, stage := range []string{"server_rewrite", "rewrite", "access", "content", "header_filter", "body_filter", "log"} {
		scripts.script(stage, r.lua[stage])
	}
	if len(scripts.node.Content) > 0 {
		scripts.sockets(r.sockets)
	}
	for _, option := range r.options {
		if option.value != optionDefaults[option.name] && len(scripts.node.Content) > 0 {
			scripts.plain(option.name, option.value)
		}
	}
	m.add("lua", scripts.node)
	if r.respond != nil {
		answer := newMapping()
		answer.plain("status", strconv.Itoa(r.respond.status))
		if r.respond.location != "" {
			answer.pairs("headers", []pair{{"Location", r.respond.location}}, texts)
		}
		answer.text("body", r.respond.body)
		m.add("respond", answer.node)
	}
	m.plain("body_bytes", r.bodySize)
	m.plain("body_buffer", r.bodyBuffer)
	m.text("document_root", r.root)
	m.text("if_modified_since", r.modified)
	m.log(r.log)
	if r.static != nil {
		m.add("static", r.static.yaml(r.try))
	}
	m.text("upstream", r.upstream)
	if r.upstream+r.target != "" {
		r.sending.yaml(m, r.target)
		o.retried(m, r)
	}
	return m.node
}
