package script

import (
	"perigee/luavm"
	"perigee/proxy/exchange"
)

// Value is a script of the access stage whose value another filter asks for.
type Value struct {
	*Filter
	taken func(ex *exchange.Exchange)
}

// Asked says which script is asked for its value.
type Asked struct {
	Route string
	// Path is where the script stands in the route; with the route's name it is
	// the script's, for people and metrics.
	Path   string
	Script *Source
	// Lua is the route's block: its modules and settings are the script's, too;
	// nil: it has none.
	Lua *Config
	// Args says that the script's ... is Exchange.Value.Args, two of them.
	Args bool
	// Taken is called with each value, which is Exchange.Value. Nil: who asks looks
	// there.
	Taken func(ex *exchange.Exchange)
}

// NewValue makes the filter and adds its script to pool, which has not been
// started. Its verdict is Continue when Exchange.Value has the script's value,
// and otherwise what the script made of the exchange, which may wait. The error
// is a *SyntaxError, or of a file of its sockets.
func NewValue(pool *luavm.Pool, a Asked, report Report) (exchange.Filter, error) {
	f := &Filter{pool: pool, report: report, flags: luavm.FlagValue}
	args := ""
	if a.Args {
		args = "ngx.arg[1], ngx.arg[2]"
	}
	name := Name(a.Route, a.Path)
	lua := returning(Lua(a.Script, name, "access_by_lua"), args)
	if a.Lua != nil {
		if err := f.use(a.Route, a.Lua); err != nil {
			return nil, err
		}
		lua.Modules = a.Lua.Modules
	}
	sc, err := pool.Add(lua)
	if err != nil || a.Script.Missing != "" {
		if why := f.cannotRun(a.Script, name, err); why != nil {
			return why, nil
		}
		return nil, &SyntaxError{Path: a.Path, Err: err}
	}
	f.scripts[exchange.Access], f.metrics[exchange.Access] = sc, report.Metrics(name)
	return &Value{Filter: f, taken: a.Taken}, nil
}

// Step implements exchange.Filter.
func (v *Value) Step(ex *exchange.Exchange, stage exchange.Stage) exchange.Verdict {
	if !ex.Running(stage) {
		ex.Value.Clear()
	}
	verdict := v.Filter.Step(ex, stage)
	if verdict == exchange.Continue && v.taken != nil {
		v.taken(ex)
	}
	return verdict
}
