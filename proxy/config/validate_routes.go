package config

import (
	"fmt"
	"slices"
	"strings"

	"perigee/proxy/script"
	"perigee/proxy/unit"
)

// routes checks every route and the names among them.
func (c *checker) routes() {
	if len(c.Routes) == 0 {
		c.report("routes", "no route: every request would be answered 404", "add at least one route")
	}
	seen := make(map[string]int, len(c.Routes))
	c.sharedLimits()
	for i := range c.Routes {
		r, path := &c.Routes[i], item("routes", i)
		switch first, twice := seen[r.Name]; {
		case r.Name == "":
			c.report(path+".name", "a route has no name", "add name: it stands in metrics and logs")
		case !namePattern.MatchString(r.Name):
			c.report(path+".name", fmt.Sprintf("route name %q is not usable in metrics and logs", r.Name), nameHint)
		case twice:
			c.report(path+".name", fmt.Sprintf("route name %q is routes[%d] again", r.Name, first), "give each route a name of its own")
		default:
			seen[r.Name] = i
		}
		c.match(path+".match", r.Match)
		c.errorPages(path+".error_pages", r.ErrorPages)
		c.accessLog(path+".access_log", r.AccessLog)
		if c.purpose(path, r); r.Before {
			c.early(path, r)
		}
		c.routeParts(path, r)
	}
}

// purpose checks that exactly one thing serves the route.
func (c *checker) purpose(path string, r *Route) {
	content := r.Lua != nil && r.Lua.Content != nil
	var serving []string
	for _, s := range [...]struct {
		name string
		set  bool
	}{{"upstream", r.Upstream != ""}, {"proxy.target", !r.Proxy.Target.IsZero()}, {"respond", r.Respond != nil}, {"static", r.Static != nil}, {"lua.content", content}} {
		if s.set {
			serving = append(serving, s.name)
		}
	}
	early := r.Lua != nil && (r.Lua.Rewrite != nil || r.Lua.Access != nil) || len(r.Rewrite) > 0 || r.Before
	switch {
	case len(serving) > 1:
		c.report(path, "a route is served by one thing, not by "+strings.Join(serving, " and "), "keep one of them")
	case len(serving) == 0 && !early:
		c.report(path, "nothing serves this route", "add upstream, proxy.target, respond, static or lua.content")
	}
	if r.Upstream != "" {
		if _, ok := c.Upstreams[r.Upstream]; !ok {
			names := sortedKeys(c.Upstreams)
			hint := "upstreams: " + strings.Join(names, ", ")
			if near, found := nearest(r.Upstream, names); found {
				hint = fmt.Sprintf("did you mean %q?", near)
			} else if len(names) == 0 {
				hint = "add it under upstreams"
			}
			c.report(path+".upstream", fmt.Sprintf("there is no upstream %q", r.Upstream), hint)
		}
		c.sentPath(path+".proxy.path", r)
		if r.Proxy.TLS != nil {
			c.report(path+".proxy.tls", "proxy.tls is for targets: the route has an upstream", "use the upstream's tls block")
		}
		return
	}
	p := r.Proxy
	if p.Path != "" {
		c.report(path+".proxy.path", "proxy.path is for upstreams: the route has none", "write the path in target, or add upstream")
	}
	if !p.Target.IsZero() {
		c.target(path+".proxy", &p)
		return
	}
	if !p.Host.IsZero() || len(p.Headers) > 0 || p.Via != "" || p.InterceptErrors ||
		len(p.Hide)+len(p.Redirects) > 0 || p.Forwarded != "" || p.Close || p.Buffering || p.TLS != nil {
		c.report(path+".proxy", "proxy has no effect: the route has no upstream", "add upstream or proxy.target, or remove proxy")
	}
	if r.Retry != nil {
		c.report(path+".retry", "retry has no effect: the route has no upstream", "add upstream, or remove retry")
	}
	if t := r.Timeouts; t.Connect+t.Send+t.Response+t.Read > 0 {
		c.report(path+".timeouts", "timeouts have no effect: the route has no upstream", "add upstream, or remove timeouts")
	}
}

// target checks an address that is evaluated per request as far as it is fixed.
func (c *checker) target(path string, p *Proxy) {
	const fix = "write http:// or https://, then an upstream's name or host[:port]"
	text := p.Target.String()
	first := p.Target.Parts()[0].Literal
	scheme, rest, found := strings.Cut(first, "://")
	switch {
	case first == "": // begins with a variable
	case !found || scheme != "http" && scheme != "https":
		c.report(path+".target", fmt.Sprintf("target %q is no http:// or https:// address", text), fix)
	case len(p.Target.Parts()) == 1 && strings.Trim(rest, "/") == "" || strings.HasPrefix(rest, "/"):
		c.report(path+".target", fmt.Sprintf("target %q has no host", text), fix)
	}
	if p.TLS == nil {
		return
	}
	c.problems(path+".tls", p.TLS.Check())
	c.readable(path+".tls.ca", p.TLS.CA)
	c.readable(path+".tls.cert", p.TLS.Cert)
	c.readable(path+".tls.key", p.TLS.Key)
}

// sentPath checks the path that is sent on in the place of the route's.
func (c *checker) sentPath(path string, r *Route) {
	p := r.Proxy.Path
	switch {
	case p == "":
	case p[0] != '/' || strings.ContainsAny(p, "?#\x00"):
		c.report(path, fmt.Sprintf("%q is no path", p), "write / or a path that begins with it, without a query")
	case len(r.Match.Paths) == 0 || slices.ContainsFunc(r.Match.Paths, func(m unit.Pattern) bool { return m.Regexp != nil }):
		c.report(path, "the route's own path is no fixed part of what is asked for", "match prefixes or exact paths, or use proxy.target")
	}
}

// early checks that a route which does not serve has only what it may have.
func (c *checker) early(path string, r *Route) {
	scripts := r.Lua
	if scripts == nil {
		scripts = &script.Config{}
	}
	for _, s := range [...]struct {
		key string
		set bool
	}{
		{"upstream", r.Upstream != ""}, {"proxy.target", !r.Proxy.Target.IsZero()},
		{"respond", r.Respond != nil}, {"static", r.Static != nil}, {"internal", r.Internal}, {"ip", len(r.IP) > 0},
		{"auth", r.Auth != nil}, {"limit", len(r.Limit) > 0},
		{"lua.server_rewrite", scripts.ServerRewrite != nil}, {"lua.rewrite", scripts.Rewrite != nil},
		{"lua.access", scripts.Access != nil}, {"lua.content", scripts.Content != nil},
	} {
		if s.set {
			c.report(path+"."+s.key, "a route with before: true does not serve", "keep rewrite and what edits answers")
		}
	}
	if len(r.Rewrite) == 0 {
		c.report(path, "nothing is done before the route", "add rewrite, or remove before")
	}
}

// routeParts runs the features' own checks.
func (c *checker) routeParts(path string, r *Route) {
	c.problems(path+".rewrite", r.Rewrite.Check(func(name string) bool {
		return r.Lua != nil && r.Lua.Set[name] != nil
	}))
	c.names(path+".rewrite", r.Rewrite.Variables())
	for i, name := range r.Rewrite.Routes() {
		if !slices.ContainsFunc(c.Routes, func(other Route) bool { return other.Name == name }) {
			c.report(item(path+".rewrite", i)+".route", fmt.Sprintf("there is no route %q", name), "name one of routes")
		}
	}
	c.problems(path+".ip", r.IP.Check())
	c.problems(path+".limit", r.Limit.Check())
	if r.Lua != nil {
		c.problems(path+".lua", r.Lua.Check())
	}
	if r.Respond != nil {
		c.problems(path+".respond", r.Respond.Check())
	}
	if r.Auth != nil {
		c.problems(path+".auth", r.Auth.Check(c.Auth.Issuers))
		if k := r.Auth.APIKey; k != nil && k.Redis != nil {
			c.store(path+".auth.api_key.redis.store", k.Redis.Store)
		}
	}
	if r.Static != nil {
		c.static(path+".static", r)
	}
	if r.Transform != nil {
		c.problems(path+".transform", r.Transform.Check())
	}
	if r.Compress != nil {
		c.problems(path+".compress", r.Compress.Check())
	}
	c.problems(path+".proxy", unit.CheckHeaders("headers", r.Proxy.Headers))
	c.problems(path+".proxy", r.Proxy.answers())
	if r.Retry != nil {
		c.problems(path+".retry", r.Retry.Check())
	}
	c.problems(path+".proxy", unit.CheckHeaderValue("host", r.Proxy.Host))
	if r.Proxy.Via != "" && !unit.IsToken(r.Proxy.Via) {
		c.report(path+".proxy.via", fmt.Sprintf("via %q is not one word", r.Proxy.Via), "write a name without blanks, such as perigee")
	}
}

// static checks a static block together with what lies around it.
func (c *checker) static(path string, r *Route) {
	c.problems(path, r.Static.Check())
	regex := slices.ContainsFunc(r.Match.Paths, func(p unit.Pattern) bool { return p.Regexp != nil })
	if regex && !r.Static.Alias.IsZero() && len(r.Static.TryFiles) > 0 {
		c.report(path+".try_files", "the alias of a route matched by an expression is one file", "use root, or remove try_files")
	}
	name := r.Static.JumpsTo()
	if name == "" || slices.ContainsFunc(c.Routes, func(r Route) bool { return r.Name == name }) {
		return
	}
	names := make([]string, len(c.Routes))
	for i := range c.Routes {
		names[i] = c.Routes[i].Name
	}
	hint := "@ is followed by the name of a route"
	if near, found := nearest(name, names); found {
		hint = fmt.Sprintf("did you mean %q?", "@"+near)
	}
	c.report(fmt.Sprintf("%s.try_files[%d]", path, len(r.Static.TryFiles)-1), fmt.Sprintf("there is no route %q", name), hint)
}

// match checks methods and names of predicates; patterns have parsed already.
func (c *checker) match(path string, m Match) {
	for i, address := range m.Listeners {
		if !slices.ContainsFunc(c.Listeners, func(l Listener) bool { return l.Address == address }) {
			c.report(item(path+".listeners", i), fmt.Sprintf("there is no listener with address %q", address), "write an address of listeners as it is written there")
		}
	}
	for i, method := range m.Methods {
		at := item(path+".methods", i)
		switch upper := strings.ToUpper(method); {
		case !unit.IsToken(method):
			c.report(at, fmt.Sprintf("method %q is not an HTTP token", method), "write methods such as GET or POST")
		case method != upper:
			c.report(at, fmt.Sprintf("method %q is not in capitals, and methods have case", method), "write "+upper)
		}
	}
	for _, name := range sortedKeys(m.Headers) {
		c.problems(path, unit.CheckHeaderName(unit.Join("headers", name), name))
	}
	for _, name := range sortedKeys(m.Query) {
		if name == "" {
			c.report(path+".query", "a query argument without a name", "write the argument's name")
		}
	}
}
