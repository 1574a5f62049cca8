package nginxconf

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"perigee/proxy/unit"
)

// step is one of a route's rewrite steps.
type step struct {
	cond, lua, path, to, then, route string
	set                              []pair
	respond                          *respond
}

// empty tells whether nothing is done.
func (st *step) empty() bool {
	return st.lua == "" && st.path == "" && st.then == "" && st.route == "" && len(st.set) == 0 && st.respond == nil
}

// computed is a variable that a script returns.
type computed struct {
	name   string
	script *lua
	args   []string
}

// steps carries over a directive of nginx's rewrite module, which are done in
// their order. cond is the condition of the if around it. False: it is about
// something else.
func (m *importer) steps(d *directive, s *scope, cond string) bool {
	switch d.name {
	case "set":
		m.set(d, s, cond)
	case "set_by_lua", "set_by_lua_block", "set_by_lua_file":
		m.computed(d, s, cond)
	case "return":
		if answer := m.respond(d); answer != nil {
			s.steps = append(s.steps, step{cond: cond, respond: answer})
		}
	case "break":
		s.steps = append(s.steps, step{cond: cond, then: "break"})
	case "rewrite":
		m.replace(d, s, cond)
	case "if":
		m.condition(d, s)
	case "rewrite_log", "uninitialized_variable_warn":
	default:
		return false
	}
	return true
}

var variableName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,63}$`)

// target is the variable that a directive sets; "" when it is none.
func (m *importer) target(d *directive) string {
	name := strings.ToLower(strings.TrimPrefix(d.arg(0), "$")) // nginx's names have no case
	if !variableName.MatchString(name) || !strings.HasPrefix(d.arg(0), "$") {
		m.leave(d, "%q is no variable of letters, digits and _", d.arg(0))
		return ""
	}
	return name
}

func (m *importer) set(d *directive, s *scope, cond string) {
	name := m.target(d)
	value, err := template(d.arg(1))
	switch {
	case name == "":
		return
	case err != nil:
		m.leave(d, "%v", err)
		return
	case exchangeOwn(name):
		m.leave(d, "$%s is what it is; scripts and rewrite change it", name)
		return
	}
	s.steps = append(s.steps, step{cond: cond, set: []pair{{name, value}}})
}

// exchangeOwn are variables that nginx lets set change.
func exchangeOwn(name string) bool { return name == "args" || name == "limit_rate" }

// computed carries set_by_lua over.
func (m *importer) computed(d *directive, s *scope, cond string) {
	name := m.target(d)
	if name == "" {
		return
	}
	if slices.ContainsFunc(s.computed, func(c computed) bool { return c.name == name }) {
		m.leave(d, "$%s is computed by another script already", name)
		return
	}
	source := *d
	source.args = d.args[1:min(2, len(d.args))]
	c := computed{name: name, script: m.script(&source, "set")}
	for _, arg := range d.args[min(2, len(d.args)):] {
		value, err := template(arg)
		if err != nil {
			m.leave(d, "%v", err)
			return
		}
		c.args = append(c.args, value)
	}
	if c.script == nil {
		return
	}
	s.computed = append(s.computed, c)
	s.steps = append(s.steps, step{cond: cond, lua: name})
}

// replace carries a rewrite directive over.
func (m *importer) replace(d *directive, s *scope, cond string) {
	to, err := template(d.arg(1))
	if err != nil || len(d.args) < 2 {
		m.leave(d, "it has no expression and path")
		return
	}
	if _, err := unit.ParsePattern("~ " + d.arg(0)); err != nil {
		m.leave(d, "%v", err)
		return
	}
	then := d.arg(2)
	if then != "permanent" && (strings.HasPrefix(to, "http://") || strings.HasPrefix(to, "https://") || strings.HasPrefix(to, "$scheme")) {
		then = "redirect"
	}
	s.steps = append(s.steps, step{cond: cond, path: escapeBraces("~ " + d.arg(0)), to: to, then: then})
}

// condition carries an if over: what its block says of rewriting becomes steps
// with that condition, and a block that says more a route of its own.
func (m *importer) condition(d *directive, s *scope) {
	cond, ok := m.question(d)
	if !ok {
		return
	}
	plain := true
	for _, child := range d.block {
		plain = plain && (rewrites(child) && child.name != "if")
	}
	if !plain {
		s.branches = append(s.branches, branch{d, len(s.steps)})
		s.steps = append(s.steps, step{cond: cond})
		return
	}
	before := len(s.steps)
	for _, child := range d.block {
		m.steps(child, s, cond)
	}
	asked := strings.TrimPrefix(strings.Fields(cond)[0], "$")
	for _, st := range s.steps[before:max(before, len(s.steps)-1)] {
		if slices.ContainsFunc(st.set, func(p pair) bool { return p.name == asked }) {
			m.leave(d, "the block sets $%s, which the condition asks again for each of its steps", asked)
		}
	}
}

func rewrites(d *directive) bool {
	switch d.name {
	case "set", "set_by_lua", "set_by_lua_block", "set_by_lua_file", "return", "break", "rewrite":
		return true
	}
	return false
}

// question writes an if's condition in perigee's words.
func (m *importer) question(d *directive) (string, bool) {
	text := strings.Join(d.args, " ")
	if !strings.HasPrefix(text, "(") || !strings.HasSuffix(text, ")") {
		m.leave(d, "the condition %q is not in parentheses", text)
		return "", false
	}
	text = strings.TrimSpace(text[1 : len(text)-1])
	if strings.HasPrefix(strings.TrimPrefix(text, "!"), "-") {
		m.leave(d, "conditions do not look at files")
		return "", false
	}
	variable, rest, _ := strings.Cut(text, " ")
	variable, err := template(variable)
	if operator, right, found := strings.Cut(strings.TrimSpace(rest), " "); err == nil {
		if operator == "=" || operator == "!=" || !found {
			right, err = template(right)
		} else {
			right = escapeBraces(right)
		}
		text = strings.TrimSpace(variable + " " + operator + " " + right)
	}
	if err == nil {
		_, err = unit.ParseCondition(text)
	}
	if err != nil {
		m.leave(d, "%v", err)
		return "", false
	}
	return text, true
}

// branch is an if whose block says more than how to rewrite.
type branch struct {
	d  *directive
	at int // its step
}

// branchRoutes makes the routes of a location's branches: the location with
// what the block says, and the steps that come behind the if.
func (m *importer) branchRoutes(d *directive, s scope) []step {
	steps := s.steps
	for _, b := range s.branches {
		inner := s.inside()
		inner.content, inner.internal, inner.files = s.content, true, s.files
		inner.computed = s.computed
		for _, child := range b.d.block {
			if child.name == "proxy_pass" {
				inner.content = child
				continue
			}
			m.shared(child, &inner)
		}
		inner.steps = append(inner.steps, steps[b.at+1:]...)
		name := m.name(&directive{args: []string{d.args[len(d.args)-1] + "-if"}})
		steps[b.at].route = name
		m.named["@"+name] = name
		m.route(&directive{name: "location", args: []string{"@" + name}, file: b.d.file, line: b.d.line}, "= /@"+name, inner)
	}
	return steps
}

// onlySets tells whether steps do nothing but give variables values that are
// made of other ones.
func onlySets(steps []step) bool {
	for _, st := range steps {
		if len(st.set) == 0 || st.cond != "" {
			return false
		}
		for _, p := range st.set {
			if strings.Contains(p.value, "$"+p.name) || strings.Contains(p.value, "$("+p.name) {
				return false
			}
		}
	}
	return true
}

// answers tells whether steps always answer.
func answers(steps []step) bool {
	return slices.ContainsFunc(steps, func(st step) bool { return st.respond != nil && st.cond == "" })
}

// join puts what sets variables one behind the other into one step.
func join(steps []step) []step {
	var list []step
	for _, st := range steps {
		if n := len(list); n > 0 && len(st.set) > 0 && len(list[n-1].set) > 0 && st.cond == "" && list[n-1].cond == "" && apart(list[n-1].set, st.set[0]) {
			list[n-1].set = append(list[n-1].set[:len(list[n-1].set):len(list[n-1].set)], st.set...)
			continue
		}
		list = append(list, st)
	}
	return list
}

// apart tells whether a variable can be set together with others, in any order.
func apart(set []pair, p pair) bool {
	for _, other := range set {
		if other.name == p.name || strings.Contains(p.value, other.name) || strings.Contains(other.value, p.name) {
			return false
		}
	}
	return true
}

// steps adds rewrite steps.
func (m mapping) steps(steps []step) {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, st := range join(steps) {
		one := newMapping()
		one.node.Style = yaml.FlowStyle
		one.text("if", st.cond)
		set := newMapping()
		for _, p := range st.set {
			set.add(p.name, scalar(p.value))
		}
		one.add("set", set.node)
		one.text("lua", st.lua)
		one.text("path", st.path)
		one.text("to", st.to)
		one.text("then", st.then)
		one.text("route", st.route)
		if st.respond != nil {
			one.add("respond", st.respond.short())
		}
		list.Content = append(list.Content, one.node)
	}
	m.add("rewrite", list)
}

// short is the answer as a step has it.
func (r *respond) short() *yaml.Node {
	if r.location == "" && r.body == "" {
		return &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.Itoa(r.status)}
	}
	answer := newMapping()
	if r.status != 200 {
		answer.plain("status", strconv.Itoa(r.status))
	}
	answer.text("location", r.location)
	answer.text("body", r.body)
	return answer.node
}

// computed adds variables that scripts return.
func (m mapping) computed(list []computed) {
	inner := newMapping()
	for _, c := range list {
		if len(c.args) == 0 && c.script.file == "" && c.script.name == "" {
			inner.script(c.name, c.script)
			continue
		}
		one := newMapping()
		one.script("script", c.script)
		one.add("args", flow(c.args))
		inner.add(c.name, one.node)
	}
	m.add("set", inner.node)
}

func flow(values []string) *yaml.Node { return list(values, yaml.FlowStyle) }
