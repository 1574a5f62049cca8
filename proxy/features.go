package proxy

import (
	"perigee/luavm"
	"perigee/proxy/auth"
	"perigee/proxy/compress"
	"perigee/proxy/config"
	"perigee/proxy/exchange"
	"perigee/proxy/ip"
	"perigee/proxy/limit"
	"perigee/proxy/respond"
	"perigee/proxy/rewrite"
	"perigee/proxy/script"
	"perigee/proxy/static"
	"perigee/proxy/transform"
)

// filters lays out a route's filters: the one table that says which feature runs
// at which stage and in which order. Request stages run top down; header, body
// and log run in the order given here too, which is the reverse of how a
// request meets the features.
func (b *builder) filters(r *exchange.Route, c *config.Route) error {
	var (
		edit    *transform.Filter
		peers   *ip.Filter
		rates   *limit.Filter
		lua     *script.Filter
		respond *respond.Filter
		files   *static.Filter
		steps   *rewrite.Filter
		guard   *auth.Filter
		press   *compress.Filter
		err     error
	)
	if c.Transform != nil {
		edit = transform.New(*c.Transform)
	}
	if len(c.IP) > 0 {
		peers = ip.New(c.IP, b.snapshot.state.report)
	}
	if c.Auth != nil {
		state := b.snapshot.state
		guard = b.snapshot.auth.Filter(c.Auth, state.Metrics.Auth(r.Name), state.report)
	}
	if c.Compress != nil {
		press = compress.New(*c.Compress)
	}
	if rates, err = b.newLimits(c); err != nil {
		return err
	}
	if c.Respond != nil {
		respond = newRespond(c.Respond)
	}
	if c.Static != nil {
		files = static.New(*c.Static, c.Match.Paths, b.snapshot.File.Root(), b.snapshot.state.report)
		if c.DocumentRoot == "" {
			r.DocumentRoot = files.Root()
		}
	}
	if c.Lua != nil {
		if lua, err = script.New(b.snapshot.pool, r.Name, c.Lua, b.scripts()); err != nil {
			return err
		}
	}
	steps = newRewrite(c, lua)
	for _, f := range []struct {
		stage  exchange.Stage
		filter exchange.Filter
		runs   bool
	}{
		{exchange.ServerRewrite, lua.At(exchange.ServerRewrite), lua.Has(exchange.ServerRewrite)},
		{exchange.Rewrite, edit, edit != nil && edit.Edits(exchange.Rewrite)},
		{exchange.Rewrite, steps, steps != nil},
		{exchange.Rewrite, lua.At(exchange.Rewrite), lua.Has(exchange.Rewrite)},
		{exchange.Access, peers, peers != nil},
		{exchange.Access, guard, guard != nil},
		{exchange.Access, rates, rates != nil},
		{exchange.Access, lua.At(exchange.Access), lua.Has(exchange.Access)},
		{exchange.Content, respond, respond != nil},
		{exchange.Content, files, files != nil},
		{exchange.Content, lua.At(exchange.Content), lua.Has(exchange.Content)},
		{exchange.Header, rates, rates != nil && rates.Tells()}, // scripts have the last word
		{exchange.Header, lua.At(exchange.Header), lua.Has(exchange.Header)},
		{exchange.Header, edit, edit != nil && edit.Edits(exchange.Header)},
		{exchange.Header, press, press != nil},
		{exchange.Header, files, files != nil}, // ranges of what the others left
		{exchange.Body, lua.At(exchange.Body), lua.Has(exchange.Body)},
		{exchange.Body, press, press != nil},
		{exchange.Log, lua.At(exchange.Log), lua.Has(exchange.Log)},
	} {
		if f.runs {
			r.Steps[f.stage] = append(r.Steps[f.stage], f.filter)
		}
	}
	r.EditsBody = lua.Has(exchange.Body)
	return nil
}

// newLimits makes the filter of a route's limits; nil: it has none.
func (b *builder) newLimits(c *config.Route) (*limit.Filter, error) {
	if len(c.Limit) == 0 {
		return nil, nil
	}
	s := b.snapshot
	f, err := limit.New(c.Limit, s.limitBuild(c.Name))
	if err == nil {
		s.limits = append(s.limits, f)
	}
	return f, err
}

// limitBuild is what limits of a route are made with; "": those of scripts.
func (s *Snapshot) limitBuild(route string) limit.Build {
	return limit.Build{
		Route: route, Store: s.state.Limits, Table: s.counters, Metrics: s.state.Metrics, Fleets: s.fleets,
	}
}

// scripts is how the snapshot's scripts report.
func (b *builder) scripts() script.Report {
	report := b.snapshot.state.Scripts()
	report.TotalTime = b.snapshot.File.Lua.TotalTime.Std()
	report.Sockets = func(c *script.Config) (*luavm.SocketSettings, error) {
		return script.Sockets(&b.snapshot.File.Lua, c)
	}
	report.AnswerBroken = b.snapshot.File.Lua.BrokenScripts == script.AnswerBroken
	return report
}

// newRewrite makes the filter of a route's rewrite steps; the scripts of lua.set
// that no step names come first.
func newRewrite(c *config.Route, lua *script.Filter) *rewrite.Filter {
	var steps rewrite.Steps
	if c.Lua != nil {
		for _, name := range c.Lua.Variables() {
			if !c.Rewrite.Runs(name) {
				steps = append(steps, rewrite.Step{Lua: name})
			}
		}
	}
	if steps = append(steps, c.Rewrite...); len(steps) == 0 {
		return nil
	}
	return rewrite.New(steps, lua.Set)
}

func newRespond(c *respond.Config) *respond.Filter { return respond.New(*c) }
