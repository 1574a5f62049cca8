package proxy

import (
	"regexp"

	"perigee/proxy/config"
	"perigee/proxy/exchange"
	"perigee/proxy/mapping"
	"perigee/proxy/route"
	"perigee/proxy/unit"
)

// asked is an exchange as the routing table reads it: one pointer, so that it
// is an interface value without an allocation.
type asked struct{ ex *exchange.Exchange }

func (a asked) Listener() string { return a.ex.Conn.Listener }

func (a asked) Host() []byte   { return a.ex.Host }
func (a asked) Path() []byte   { return a.ex.Path }
func (a asked) Method() []byte { return a.ex.Req.Method() }

func (a asked) Header(name string) ([]byte, bool) {
	v := a.ex.RequestHeader(name)
	return v, v != nil
}

func (a asked) Query(name string) ([]byte, bool) {
	ex := a.ex
	raw := exchange.Argument(ex.Query, name)
	if raw == nil {
		return nil, exchange.HasArgument(ex.Query, name)
	}
	ex.Scratch = exchange.AppendUnescaped(ex.Scratch[:0], raw)
	return ex.Scratch, true
}

// match finds the route of an exchange. A request that was turned round by a
// script or an error page may reach internal routes.
func (s *Snapshot) match(ex *exchange.Exchange) (*exchange.Route, route.Outcome) {
	if ex.Jump != "" {
		return s.jump(ex)
	}
	origin := route.Outside
	if ex.Restarts > 0 || ex.Place.ErrorPage != 0 || ex.Parent != nil {
		origin = route.Inside
	}
	result := s.tables.serve.Match(asked{ex}, origin, ex.Groups[:0])
	if result.Outcome != route.Found {
		return nil, result.Outcome
	}
	ex.Groups = result.Captures
	ex.SetCaptures(ex.Path, result.Captures)
	ex.Matched = expression(result)
	return s.routes[s.tables.serving[result.Rule]], route.Found
}

// matchBefore finds the route whose steps come before that of the request; nil:
// there is none.
func (s *Snapshot) matchBefore(ex *exchange.Exchange) *exchange.Route {
	if s.tables.before == nil {
		return nil
	}
	result := s.tables.before.Match(asked{ex}, route.Inside, ex.Groups[:0])
	if result.Outcome != route.Found {
		return nil
	}
	ex.Groups = result.Captures
	ex.SetCaptures(ex.Path, result.Captures)
	ex.Matched = expression(result)
	return s.routes[s.tables.early[result.Rule]]
}

// expression is what made the captures of a match; nil: nothing did.
func expression(r route.Result) *regexp.Regexp {
	if r.Pattern == nil {
		return nil
	}
	return r.Pattern.Regexp
}

// jump takes the exchange to the route that a filter named.
func (s *Snapshot) jump(ex *exchange.Exchange) (*exchange.Route, route.Outcome) {
	name := ex.Jump
	ex.Jump, ex.Matched = "", nil
	ex.Captures = ex.Captures[:0]
	if name[0] == '@' {
		// The host's own comes first: "= /@name" is how a name is said that
		// several hosts have.
		result := s.tables.serve.Match(askedName{asked{ex}, "/" + name}, route.Inside, nil)
		if result.Outcome == route.Found && result.Pattern != nil && result.Pattern.Kind == unit.Exact {
			return s.routes[s.tables.serving[result.Rule]], route.Found
		}
		name = name[1:]
	}
	for _, r := range s.routes {
		if r.Name == name {
			return r, route.Found
		}
	}
	return nil, route.NotFound
}

// askedName asks for another path than the exchange's.
type askedName struct {
	asked
	path string
}

func (a askedName) Path() []byte { return []byte(a.path) }

// evaluate gives the configuration's variables their values, once per exchange,
// and what the route's expression has captured by name.
func (s *Snapshot) evaluate(ex *exchange.Exchange) {
	if ex.Matched != nil {
		defer ex.NameCaptures(ex.Matched)
	}
	if ex.Place.Named {
		return
	}
	ex.Place.Named = true
	for _, v := range s.variables {
		ex.Scratch = ex.AppendTemplate(ex.Scratch[:0], v.value)
		ex.Vars = append(ex.Vars, exchange.Var{Name: v.name, Value: string(ex.Scratch)})
	}
}

// newMaps makes the variables that are looked up; nil if there are none.
func newMaps(file *config.File) mapping.Set {
	if len(file.Maps) == 0 {
		return nil
	}
	set := make(mapping.Set, len(file.Maps))
	for name, c := range file.Maps {
		set[name] = mapping.New(c)
	}
	return set
}

// variable is one of the configuration's variables.
type variable struct {
	name  string
	value unit.Template
}

// variables are those of a configuration, each behind those it is made of, then
// those that only routes set.
func variables(file *config.File) []variable {
	var list []variable
	for _, name := range file.VariableOrder() {
		list = append(list, variable{name, file.Variables[name]})
	}
	for _, name := range file.SetVariables() {
		list = append(list, variable{name: name})
	}
	return list
}
