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

// features are a route's filters; nil are those that it has not.
type features struct {
	edit          *transform.Filter
	peers         *ip.Filter
	guard         *auth.Filter
	hider         *auth.Hider
	press         *compress.Filter
	logins, rates *limit.Filter
	keys          map[exchange.Filter][]exchange.Filter // what runs before one of limits
	respond       *respond.Filter
	files         *static.Filter
	lua           *script.Filter
	rewrite       *rewrite.Filter
}

// filters makes a route's filters and lays them out.
func (b *builder) filters(r *exchange.Route, c *config.Route) error {
	var f features
	var err error
	if c.Transform != nil {
		f.edit = transform.New(*c.Transform)
	}
	if len(c.IP) > 0 {
		f.peers = ip.New(c.IP, b.snapshot.state.report)
	}
	if c.Auth != nil {
		if f.guard, err = b.newAuthFilter(c); err != nil {
			return err
		}
		f.hider = f.guard.Hider()
	}
	if c.Compress != nil {
		f.press = compress.New(*c.Compress)
	}
	if f.logins, f.rates, f.keys, err = b.newLimits(c); err != nil {
		return err
	}
	if c.Respond != nil {
		f.respond = newRespond(c.Respond)
	}
	if c.Static != nil {
		f.files = b.newStatic(r, c)
	}
	if c.Lua != nil {
		if f.lua, err = script.New(b.snapshot.pool, r.Name, c.Lua, b.scripts()); err != nil {
			return err
		}
	}
	f.rewrite = newRewrite(c, f.lua)
	f.layOut(r)
	return nil
}

// layOut is the one table that says which feature runs at which stage and in
// which order. Request stages run top down; header, body and log run in the
// order given here too, which is the reverse of how a request meets the
// features.
func (f *features) layOut(r *exchange.Route) {
	lua := f.lua
	for _, s := range []struct {
		stage  exchange.Stage
		filter exchange.Filter
		runs   bool
	}{
		{exchange.ServerRewrite, f.hider, f.hider != nil},
		{exchange.ServerRewrite, lua.At(exchange.ServerRewrite), lua.Has(exchange.ServerRewrite)},
		{exchange.Rewrite, f.hider, f.hider != nil}, // the route may be another by now
		{exchange.Rewrite, f.edit, f.edit != nil && f.edit.Edits(exchange.Rewrite)},
		{exchange.Rewrite, f.rewrite, f.rewrite != nil},
		{exchange.Rewrite, lua.At(exchange.Rewrite), lua.Has(exchange.Rewrite)},
		{exchange.Access, f.peers, f.peers != nil},
		{exchange.Access, f.logins, f.logins != nil},
		{exchange.Access, f.guard, f.guard != nil},
		{exchange.Access, f.rates, f.rates != nil},
		{exchange.Access, lua.At(exchange.Access), lua.Has(exchange.Access)},
		{exchange.Content, f.respond, f.respond != nil},
		{exchange.Content, f.files, f.files != nil},
		{exchange.Content, lua.At(exchange.Content), lua.Has(exchange.Content)},
		{exchange.Header, f.logins, f.logins != nil && f.logins.Tells()}, // scripts have the last word
		{exchange.Header, f.rates, f.rates != nil && f.rates.Tells()},
		{exchange.Header, lua.At(exchange.Header), lua.Has(exchange.Header)},
		{exchange.Header, f.edit, f.edit != nil && f.edit.Edits(exchange.Header)},
		{exchange.Header, f.press, f.press != nil},
		{exchange.Header, f.files, f.files != nil}, // ranges of what the others left
		{exchange.Body, lua.At(exchange.Body), lua.Has(exchange.Body)},
		{exchange.Body, f.press, f.press != nil},
		{exchange.Log, lua.At(exchange.Log), lua.Has(exchange.Log)},
	} {
		if !s.runs {
			continue
		}
		if s.stage == exchange.Access {
			r.Steps[s.stage] = append(r.Steps[s.stage], f.keys[s.filter]...)
		}
		r.Steps[s.stage] = append(r.Steps[s.stage], s.filter)
	}
	r.EditsBody = lua.Has(exchange.Body)
	rewrite, access := r.Steps[exchange.Rewrite], r.Steps[exchange.Access]
	r.Adjoins = len(rewrite) > 0 && len(access) > 0 && rewrite[len(rewrite)-1] == access[0]
}

// newAuthFilter makes the filter of a route's auth block.
func (b *builder) newAuthFilter(c *config.Route) (*auth.Filter, error) {
	state := b.snapshot.state
	f := b.snapshot.auth.Filter(c.Auth, state.Metrics.Auth(c.Name), state.report)
	if c.Auth.APIKey == nil || c.Auth.APIKey.Lua == nil {
		return f, nil
	}
	asked, err := script.NewValue(b.snapshot.pool, script.Asked{
		Route: c.Name, Path: "auth.api_key.lua.script", Script: c.Auth.APIKey.Lua.Script, Lua: c.Lua, Args: true,
	}, b.scripts())
	if err == nil {
		f.AskScript(asked)
	}
	return f, err
}

func (b *builder) newStatic(r *exchange.Route, c *config.Route) *static.Filter {
	files := static.New(*c.Static, c.Match.Paths, b.snapshot.File.Root(), b.snapshot.state.report)
	if c.DocumentRoot == "" {
		r.DocumentRoot = files.Root()
	}
	return files
}

// newLimits makes the filters of a route's limits, those of auth failures and
// the others, nil where it has none, and what runs before each of them.
func (b *builder) newLimits(c *config.Route) (logins, rates *limit.Filter, keys map[exchange.Filter][]exchange.Filter, err error) {
	if logins, err = b.newLimiter(c, true); err != nil {
		return nil, nil, nil, err
	}
	if rates, err = b.newLimiter(c, false); err != nil {
		return nil, nil, nil, err
	}
	keys, err = b.newKeys(c, logins, rates)
	return logins, rates, keys, err
}

// newLimiter makes the filter of a route's limits of one kind; nil: it has none.
func (b *builder) newLimiter(c *config.Route, guards bool) (*limit.Filter, error) {
	s := b.snapshot
	build := s.limitBuild(c.Name)
	build.Guards = guards
	if c.Auth != nil {
		build.Credentials = c.Auth.Credentials()
	}
	f, err := limit.New(c.Limit, build)
	if f != nil {
		s.limits = append(s.limits, f)
	}
	return f, err
}

// newKeys makes the filters of scripts that return parts of limits' keys, by the
// filter of limits that they stand before.
func (b *builder) newKeys(c *config.Route, logins, rates *limit.Filter) (map[exchange.Filter][]exchange.Filter, error) {
	keys := map[exchange.Filter][]exchange.Filter{}
	for _, k := range c.Limit.Scripts() {
		f, err := script.NewValue(b.snapshot.pool, script.Asked{
			Route: c.Name, Path: k.Path, Script: k.Script, Lua: c.Lua,
			Taken: func(ex *exchange.Exchange) { limit.Compute(ex, k.Place) },
		}, b.scripts())
		if err != nil {
			return nil, err
		}
		of := rates
		if k.Guards {
			of = logins
		}
		keys[of] = append(keys[of], f)
	}
	return keys, nil
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
