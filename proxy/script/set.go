package script

import (
	"encoding/binary"

	"perigee/luavm"
	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/unit"
)

// SetSource is one entry of lua.set: a script whose return value becomes a
// variable. A text in its place is script.
type SetSource struct {
	// Script returns the value, a string or a number; anything else makes the
	// variable empty. It cannot wait.
	Script *Source `yaml:"script" config:"short"`
	// Args are what ngx.arg[1], ngx.arg[2] and so on are in the script, variables
	// evaluated.
	Args []unit.Template `yaml:"args,omitempty"`
}

// setter gives a variable the value that a script returns.
type setter struct {
	*Filter
	variable string
	script   *luavm.Script
	args     []unit.Template
	metrics  *observe.ScriptMetrics
}

// addSets adds the scripts of lua.set.
func (f *Filter) addSets(route string, c *Config) error {
	for name, set := range c.Set {
		key := "set." + name
		lua := returning(Lua(set.Script, Name(route, key), "set_by_lua"), "")
		lua.Modules = c.Modules
		sc, err := f.pool.Add(lua)
		if err != nil || set.Script.Missing != "" {
			why := f.cannotRun(set.Script, Name(route, key), err)
			if why == nil {
				return &SyntaxError{Key: key, Err: err}
			}
			f.sets[name] = why
			continue
		}
		f.sets[name] = &setter{
			Filter: f, variable: name, script: sc, args: set.Args, metrics: f.report.Metrics(Name(route, key)),
		}
	}
	return nil
}

// returning makes a script hand its value to ngx.arg[0]: see
// lualib/ngx/body.lua. args is what its "..." is. The text stays on its lines.
func returning(src luavm.Source, args string) luavm.Source {
	wrap := func(text string) string { return "ngx.arg[0] = (function(...) " + text + "\nend)(" + args + ")" }
	src.Text = wrap(src.Text)
	if read := src.Read; read != nil {
		src.Read = func() (string, error) {
			text, err := read()
			return wrap(text), err
		}
	}
	return src
}

// Set is the filter that gives a variable of lua.set its value.
func (f *Filter) Set(name string) exchange.Filter { return f.sets[name] }

// Step implements exchange.Filter. It answers Continue or Fail.
func (s *setter) Step(ex *exchange.Exchange, stage exchange.Stage) exchange.Verdict {
	if verdict := s.sit(ex, stage, s.script); verdict != exchange.Continue || ex.Lua == nil {
		return verdict
	}
	s.fillStage(ex, stage)
	var in luavm.Input
	s.input(ex, stage, &in)
	in.Data = s.arguments(ex)
	out := ex.Lua.Start(s.script, luavm.PhaseSet, &in)
	s.metrics.Observe(ex.Record.Shard, out.Ran)
	if out.Kind == luavm.Wait {
		ex.Lua.Cancel()
		out = luavm.Outcome{End: luavm.End{Kind: luavm.Failed}, Err: &luavm.ScriptError{
			Kind: luavm.ErrRuntime, Script: s.script.Name(), Message: "a script of lua.set cannot wait",
		}}
	}
	if out.Kind == luavm.Failed {
		s.metrics.Errors.With(string(out.Err.Kind)).Inc()
		s.note(ex, out.Err)
		return fail(ex, 500)
	}
	applyEdits(ex, stage)
	ex.SetVariable([]byte(s.variable), ex.Lua.Output())
	ex.Lua.ClearOutput()
	ex.Stale = true
	return exchange.Continue
}

// arguments writes the values that the script may ask for, each behind its
// length.
func (s *setter) arguments(ex *exchange.Exchange) []byte {
	if len(s.args) == 0 {
		return nil
	}
	ex.Scratch = ex.Scratch[:0]
	for _, arg := range s.args {
		at := len(ex.Scratch)
		ex.Scratch = append(ex.Scratch, 0, 0, 0, 0)
		ex.Scratch = ex.AppendTemplate(ex.Scratch, arg)
		binary.NativeEndian.PutUint32(ex.Scratch[at:], uint32(len(ex.Scratch)-at-4))
	}
	return ex.Scratch
}
