package script

import (
	"time"

	"perigee/luavm"
	"perigee/proxy/exchange"
	"perigee/proxy/observe"
)

// Filter runs a route's scripts, one per stage that has one.
type Filter struct {
	pool    *luavm.Pool
	scripts [exchange.StageCount]*luavm.Script
	broken  [exchange.StageCount]*broken
	metrics [exchange.StageCount]*observe.ScriptMetrics
	report  Report
}

// Report is how scripts tell the gateway what happened to them.
type Report struct {
	// Failed logs a failed script and returns the id that the client is given.
	Failed func(ex *exchange.Exchange, err *luavm.ScriptError) (id string)
	// Metrics gives the series of a script.
	Metrics func(name string) *observe.ScriptMetrics
	// TotalTime bounds a phase of an exchange, its waits included; 0: no bound.
	TotalTime time.Duration
	// AnswerBroken takes scripts that cannot run: requests that come to them are
	// answered 500, or 404 where the file is missing.
	AnswerBroken bool
	// Refused logs that no VM could take the exchange.
	Refused func(ex *exchange.Exchange, err error)
}

var phases = [exchange.StageCount]luavm.Phase{
	exchange.Rewrite: luavm.PhaseRewrite, exchange.Access: luavm.PhaseAccess,
	exchange.Content: luavm.PhaseContent, exchange.Balancer: luavm.PhaseBalancer,
	exchange.Header: luavm.PhaseHeaderFilter, exchange.Body: luavm.PhaseBodyFilter,
	exchange.Log: luavm.PhaseLog,
}

// New makes the filter of a route and adds its scripts to pool, which has not
// been started. The error is a *SyntaxError.
func New(pool *luavm.Pool, route string, c *Config, report Report) (*Filter, error) {
	f := &Filter{pool: pool, report: report}
	for key, source := range c.Sources() {
		sc, err := pool.Add(luavm.Source{
			Name: Name(route, key), Chunk: source.ChunkName(key + "_by_lua"), Text: source.Text,
		})
		if (err != nil || source.Missing != "") && f.breakAt(stageOf(key), source, Name(route, key), err) {
			continue
		}
		if err != nil {
			return nil, &SyntaxError{Key: key, Err: err}
		}
		f.scripts[stageOf(key)] = sc
		f.metrics[stageOf(key)] = report.Metrics(Name(route, key))
	}
	return f, nil
}

// SyntaxError says which of a route's scripts does not compile.
type SyntaxError struct {
	Key string // of Config: "access"
	Err error  // a *luavm.ScriptError
}

// Error implements error.
func (e *SyntaxError) Error() string { return e.Key + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *SyntaxError) Unwrap() error { return e.Err }

// Name is how a route's script is called in metrics and logs.
func Name(route, key string) string { return route + "/" + key }

func stageOf(key string) exchange.Stage {
	for stage := range exchange.StageCount {
		if stage.String() == key {
			return stage
		}
	}
	panic("BUG: script for unknown stage " + key)
}

// Has tells whether the route has a script for a stage; f may be nil.
func (f *Filter) Has(stage exchange.Stage) bool { return f.At(stage) != nil }

// Name implements exchange.Filter.
func (f *Filter) Name() string { return "lua" }

// Step implements exchange.Filter.
func (f *Filter) Step(ex *exchange.Exchange, stage exchange.Stage) exchange.Verdict {
	if op := ex.LuaWaits[stage]; op != nil {
		return f.resume(ex, stage, op)
	}
	if ex.Lua == nil {
		slot, err := f.pool.Pin(ex.Conn.ID)
		if err != nil && ex.Place.Away {
			// A tunnel outlived the VMs of its configuration: its end is
			// recorded without the script.
			return exchange.Continue
		}
		if err != nil {
			f.report.Refused(ex, err)
			return fail(ex, 503)
		}
		slot.Owner = ex
		ex.Lua = slot
		if err := fillRequest(ex); err != nil {
			f.report.Refused(ex, err)
			return fail(ex, 431)
		}
	}
	fillStage(ex, stage)
	in := f.input(ex, stage)
	return f.settle(ex, stage, ex.Lua.Start(f.scripts[stage], phases[stage], &in))
}

// resume hands a completed op's outcome to the script that waits for it.
func (f *Filter) resume(ex *exchange.Exchange, stage exchange.Stage, op *luavm.Op) exchange.Verdict {
	op.Result = 0
	switch op.Kind {
	case luavm.OpSleep:
		if ex.Take(luavm.OpSleep) == nil {
			return exchange.Wait
		}
	case luavm.OpReadBody, luavm.OpDiscardBody:
		done := ex.Take(exchange.OpReadBody)
		if done == nil {
			return exchange.Wait
		}
		if done.Err != nil {
			ex.LuaWaits[stage] = nil
			ex.Down.Close()
			return fail(ex, bodyStatus(done.Err))
		}
		ex.BodyRead = true
	case luavm.OpFlush, luavm.OpEOF, luavm.OpSendHeaders:
		if ex.Place.Lost {
			op.Result = -1
		}
		if ex.Place.HeadSent {
			ex.Lua.SetFlags(luavm.FlagHeadersSent)
		}
	}
	return f.goOn(ex, stage, op)
}

// goOn resumes the script whose op is complete.
func (f *Filter) goOn(ex *exchange.Exchange, stage exchange.Stage, op *luavm.Op) exchange.Verdict {
	ex.LuaWaits[stage] = nil
	if until := ex.LuaUntil[stage]; until > 0 && time.Since(ex.Record.Start) >= until {
		return f.failed(ex, stage, &luavm.ScriptError{
			Kind: KindTotalTime, Script: f.scripts[stage].Name(),
			Message: "the phase took longer than lua.total_time, " + f.report.TotalTime.String(),
		})
	}
	fillStage(ex, stage)
	in := f.input(ex, stage)
	return f.settle(ex, stage, ex.Lua.Resume(op, &in))
}

// settle applies what a run has changed and turns its outcome into a verdict.
func (f *Filter) settle(ex *exchange.Exchange, stage exchange.Stage, out luavm.Outcome) exchange.Verdict {
	f.metrics[stage].Observe(ex.Record.Shard, out.Ran)
	if out.Kind == luavm.Failed {
		return f.failed(ex, stage, out.Err)
	}
	restart := applyEdits(ex, stage)
	takeOutput(ex, stage)
	if out.Kind == luavm.Wait {
		return f.wait(ex, stage, out.Op)
	}
	if restart {
		return exchange.Restart
	}
	switch stage {
	case exchange.Header, exchange.Body, exchange.Log:
		return exchange.Continue
	}
	if out.Kind == luavm.Exit {
		return exit(ex, stage, int(out.Status))
	}
	if stage == exchange.Content || began(ex) {
		return respond(ex)
	}
	return exchange.Continue
}

// wait posts what the script waits for.
func (f *Filter) wait(ex *exchange.Exchange, stage exchange.Stage, op *luavm.Op) exchange.Verdict {
	ex.LuaWaits[stage] = op
	switch op.Kind {
	case luavm.OpSleep:
		ex.Post(luavm.OpSleep).Seconds = f.bounded(ex, stage, op.Seconds)
	case luavm.OpReadBody, luavm.OpDiscardBody:
		if ex.BodyRead || ex.Down.BodyDone() {
			ex.BodyRead = true
			return f.goOn(ex, stage, op)
		}
		ex.Post(exchange.OpReadBody)
	case luavm.OpFlush, luavm.OpEOF, luavm.OpSendHeaders:
		ex.Scripted = true
		if op.Kind == luavm.OpEOF {
			ex.Ended = true
		}
		return exchange.Emit
	default:
		panic("BUG: script waits for an op of unknown kind")
	}
	return exchange.Wait
}

// KindTotalTime is the kind of error of a phase that took longer, waits
// included, than the configuration allows.
const KindTotalTime luavm.ErrorKind = "total_time"

// bounded shortens a wait to what is left of the phase's time.
func (f *Filter) bounded(ex *exchange.Exchange, stage exchange.Stage, seconds float64) float64 {
	if f.report.TotalTime == 0 {
		return seconds
	}
	at := time.Since(ex.Record.Start)
	if ex.LuaUntil[stage] == 0 {
		// From the first wait on: what ran before it is bounded by cpu_budget.
		ex.LuaUntil[stage] = at + f.report.TotalTime
	}
	return min(seconds, max(0, (ex.LuaUntil[stage]-at).Seconds()))
}

// ErrorIDHeader is the response field that carries the id of a failed script's
// log line.
const ErrorIDHeader = "X-Error-Id"

// failed answers 500 with an id that leads to the log; the traceback stays
// there.
func (f *Filter) failed(ex *exchange.Exchange, stage exchange.Stage, err *luavm.ScriptError) exchange.Verdict {
	f.metrics[stage].Errors.With(string(err.Kind)).Inc()
	ex.Record.ErrorID = f.report.Failed(ex, err)
	if !ex.Place.HeadSent {
		exchange.SetResponse(&ex.Early, ErrorIDHeader, []byte(ex.Record.ErrorID))
		ex.HasEarly = true
	}
	ex.LuaWaits[stage] = nil
	drop(ex)
	return fail(ex, 500)
}
