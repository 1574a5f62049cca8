package respond

import (
	"sort"

	"perigee/proxy/exchange"
)

// Filter answers with a fixed status, head and body in the content stage.
type Filter struct {
	config Config
	names  []string // of Config.Headers, sorted: answers do not vary
}

// New makes the filter of a checked configuration.
func New(c Config) *Filter {
	f := &Filter{config: c}
	for name := range c.Headers {
		f.names = append(f.names, name)
	}
	sort.Strings(f.names)
	return f
}

// Name implements exchange.Filter.
func (f *Filter) Name() string { return "respond" }

// Step implements exchange.Filter.
func (f *Filter) Step(ex *exchange.Exchange, _ exchange.Stage) exchange.Verdict {
	h := &ex.Resp
	h.SetStatusCode(f.config.Status)
	if f.config.Status == 444 {
		return exchange.Hangup
	}
	ex.Out = ex.AppendTemplate(ex.Out[:0], f.config.Body)
	switch {
	case len(ex.Out) == 0:
		ex.Bare = f.config.Status >= 300 && f.config.Status != 304
	case f.config.ContentType.IsZero():
		h.SetType(ex.Route.DefaultType)
	default:
		ex.Scratch = ex.AppendTemplate(ex.Scratch[:0], f.config.ContentType)
		h.SetTypeBytes(ex.Scratch)
	}
	for _, name := range f.names {
		ex.Scratch = ex.AppendTemplate(ex.Scratch[:0], f.config.Headers[name])
		if len(ex.Scratch) > 0 {
			h.Set(name, ex.Scratch)
		}
	}
	return exchange.Respond
}
