package proxy

import (
	"perigee/proxy/config"
	"perigee/proxy/route"
)

// tables find routes by requests: those that serve, and those that come before
// them.
type tables struct {
	serve, before *route.Table
	serving       []int // index in the configuration of each rule of serve
	early         []int // the same of before
}

func newTables(file *config.File) tables {
	var t tables
	var serve, before []route.Rule
	for i := range file.Routes {
		c := &file.Routes[i]
		if c.Before {
			before, t.early = append(before, rule(c)), append(t.early, i)
			continue
		}
		serve, t.serving = append(serve, rule(c)), append(t.serving, i)
	}
	t.serve = route.NewTable(serve)
	if len(before) > 0 {
		t.before = route.NewTable(before)
	}
	return t
}

// rule is what the routing table needs to know of a configured route.
func rule(c *config.Route) route.Rule {
	return route.Rule{
		Name: c.Name, Listeners: c.Match.Listeners, Hosts: c.Match.Hosts, Paths: c.Match.Paths, Methods: c.Match.Methods,
		Headers: route.Predicates(c.Match.Headers), Query: route.Predicates(c.Match.Query),
		Priority: c.Priority, Internal: c.Internal,
	}
}
