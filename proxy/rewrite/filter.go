package rewrite

import (
	"bytes"
	"sort"

	"perigee/proxy/exchange"
	"perigee/proxy/unit"
)

// Filter carries the steps out, in the rewrite stage.
type Filter struct{ steps []step }

// step is a Step as it is carried out.
type step struct {
	*Step
	names []string // of Set, sorted
	lua   exchange.Filter
}

// New makes the filter of checked steps. lua gives the script of a name in
// lua.set; it ends in one go.
func New(steps Steps, lua func(name string) exchange.Filter) *Filter {
	f := &Filter{steps: make([]step, len(steps))}
	for i := range steps {
		s := step{Step: &steps[i]}
		for name := range s.Set {
			s.names = append(s.names, name)
		}
		sort.Strings(s.names)
		if s.Lua != "" {
			s.lua = lua(s.Lua)
		}
		f.steps[i] = s
	}
	return f
}

// Name implements exchange.Filter.
func (f *Filter) Name() string { return "rewrite" }

// Step implements exchange.Filter.
func (f *Filter) Step(ex *exchange.Exchange, stage exchange.Stage) exchange.Verdict {
	moved := false
	for i := range f.steps {
		s := &f.steps[i]
		if !s.If.IsZero() && !ex.Holds(&s.If) {
			continue
		}
		s.set(ex)
		if s.lua != nil {
			if verdict := s.lua.Step(ex, stage); verdict != exchange.Continue {
				return verdict
			}
		}
		if s.Respond != nil {
			return s.Respond.give(ex)
		}
		if s.Route != "" {
			ex.Jump = s.Route
			return exchange.Restart
		}
		if !s.Path.IsZero() {
			if !s.matches(ex) {
				continue
			}
			if s.Then == Redirect || s.Then == Permanent {
				return s.redirect(ex)
			}
			s.move(ex)
			moved = true
		}
		switch s.Then {
		case Last:
			return exchange.Restart
		case Break:
			return exchange.Continue
		}
	}
	if moved {
		return exchange.Restart
	}
	return exchange.Continue
}

func (s *step) set(ex *exchange.Exchange) {
	for _, name := range s.names {
		ex.Scratch = ex.AppendTemplate(ex.Scratch[:0], s.Set[name])
		ex.SetVariable([]byte(name), ex.Scratch)
		ex.Stale = true
	}
}

// matches tells whether the path is one that the step replaces.
func (s *step) matches(ex *exchange.Exchange) bool {
	if s.Path.Regexp == nil {
		return s.Path.Match(ex.Path)
	}
	return ex.Capture(s.Path.Regexp, ex.Path)
}

// move replaces path and query.
func (s *step) move(ex *exchange.Exchange) {
	ex.Scratch = appendTarget(ex.Scratch[:0], ex, s.To, false)
	path, query, _ := bytes.Cut(ex.Scratch, []byte{'?'})
	ex.Path = append(ex.Path[:0], path...)
	ex.Place.Relocated = true
	ex.SetQuery(query)
	ex.Stale = true
}

func (s *step) redirect(ex *exchange.Exchange) exchange.Verdict {
	status := 302
	if s.Then == Permanent {
		status = 301
	}
	ex.Scratch = appendTarget(ex.Scratch[:0], ex, s.To, true)
	return answer(ex, status)
}

// answer redirects to what is in Scratch.
func answer(ex *exchange.Exchange, status int) exchange.Verdict {
	ex.Resp.SetStatusCode(status)
	ex.Resp.Set("Location", ex.Scratch)
	ex.Out = ex.Out[:0]
	ex.Bare = true
	return exchange.Respond
}

// appendTarget appends a path with its query. What was captured of the decoded
// path is escaped where it lands in a query, and anywhere in an address that
// the client gets.
func appendTarget(dst []byte, ex *exchange.Exchange, to unit.Template, address bool) []byte {
	start := len(dst)
	queried := false
	for _, part := range to.Parts() {
		from := len(dst)
		switch {
		case part.Variable == "":
			dst = append(dst, part.Literal...)
		case part.Variable[0] <= '9' && (address || queried):
			dst = exchange.AppendEscaped(dst, ex.AppendVariable(nil, part.Variable))
		default:
			dst = ex.AppendVariable(dst, part.Variable)
		}
		queried = queried || bytes.IndexByte(dst[from:], '?') >= 0
	}
	switch {
	case bytes.HasSuffix(dst[start:], []byte{'?'}):
		return dst[:len(dst)-1]
	case len(ex.Query) == 0:
		return dst
	case queried:
		dst = append(dst, '&')
	default:
		dst = append(dst, '?')
	}
	return append(dst, ex.Query...)
}

// give makes the answer.
func (a *Answer) give(ex *exchange.Exchange) exchange.Verdict {
	if a.Status == 444 {
		ex.Resp.SetStatusCode(444)
		return exchange.Hangup
	}
	h := &ex.Resp
	h.SetStatusCode(a.Status)
	if !a.Location.IsZero() {
		ex.Scratch = ex.AppendTemplate(ex.Scratch[:0], a.Location)
		h.Set("Location", ex.Scratch)
	}
	ex.Out = ex.AppendTemplate(ex.Out[:0], a.Body)
	switch {
	case len(ex.Out) == 0:
		ex.Bare = a.Status >= 300 && a.Status != 304
	case a.ContentType.IsZero():
		h.SetType(ex.Route.DefaultType)
	default:
		ex.Scratch = ex.AppendTemplate(ex.Scratch[:0], a.ContentType)
		h.SetTypeBytes(ex.Scratch)
	}
	return exchange.Respond
}
