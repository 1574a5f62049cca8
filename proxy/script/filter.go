package script

import (
	"errors"
	"fmt"
	"os"
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
	sets    map[string]exchange.Filter // by variable
	metrics [exchange.StageCount]*observe.ScriptMetrics
	report  Report
	sockets *luavm.SocketSettings // nil: as for all
	flags   luavm.Flags           // what the route's settings say to its scripts
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
	// Handshake logs a failed script of a TLS handshake.
	Handshake func(err *luavm.ScriptError)
	// Sockets gives the settings of a route's sockets.
	Sockets func(*Config) (*luavm.SocketSettings, error)
	// Refused logs that no VM could take the exchange.
	Refused func(ex *exchange.Exchange, err error)
}

var phases = [exchange.StageCount]luavm.Phase{
	exchange.ServerRewrite: luavm.PhaseServerRewrite,
	exchange.Rewrite:       luavm.PhaseRewrite, exchange.Access: luavm.PhaseAccess,
	exchange.Content: luavm.PhaseContent, exchange.Balancer: luavm.PhaseBalancer,
	exchange.Header: luavm.PhaseHeaderFilter, exchange.Body: luavm.PhaseBodyFilter,
	exchange.Log: luavm.PhaseLog,
}

// New makes the filter of a route and adds its scripts to pool, which has not
// been started. The error is a *SyntaxError, or of a file of its sockets.
func New(pool *luavm.Pool, route string, c *Config, report Report) (*Filter, error) {
	f := &Filter{pool: pool, report: report, sets: map[string]exchange.Filter{}}
	if err := f.use(route, c); err != nil {
		return nil, err
	}
	for key, source := range c.Sources() {
		lua := Lua(source, Name(route, key), key+"_by_lua")
		lua.Modules = c.Modules
		sc, err := pool.Add(lua)
		if err != nil || source.Missing != "" {
			if f.broken[stageOf(key)] = f.cannotRun(source, Name(route, key), err); f.broken[stageOf(key)] != nil {
				continue
			}
			return nil, &SyntaxError{Key: key, Err: err}
		}
		f.scripts[stageOf(key)] = sc
		f.metrics[stageOf(key)] = report.Metrics(Name(route, key))
	}
	return f, f.addSets(route, c)
}

// use takes over what a route's settings say to its scripts.
func (f *Filter) use(route string, c *Config) (err error) {
	if c.Socket != nil || c.SSL != nil {
		if f.sockets, err = f.report.Sockets(c); err != nil {
			return fmt.Errorf("route %s: %w", route, err)
		}
	}
	if !c.HTTP10Buffering {
		f.flags |= luavm.FlagUnbuffered
	}
	if c.WaitEverywhere {
		f.flags |= luavm.FlagWaits
	}
	if c.CheckClientAbort {
		f.flags |= luavm.FlagCheckAbort
	}
	if !c.TransformUnderscores {
		f.flags |= luavm.FlagUnderscores
	}
	return nil
}

// SyntaxError says which of a route's scripts does not compile.
type SyntaxError struct {
	Key  string // of Config: "access"
	Path string // where it stands in the route; "": lua.KEY
	Err  error  // a *luavm.ScriptError
}

// Error implements error.
func (e *SyntaxError) Error() string { return e.Path + e.Key + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *SyntaxError) Unwrap() error { return e.Err }

// Lua is the script of a stage as VMs take it; name is for people and metrics.
func Lua(s *Source, name, stage string) luavm.Source {
	src := luavm.Source{Name: name, Chunk: s.ChunkName(stage), Text: s.Text}
	if path := s.Path; path != "" {
		src.Read = func() (string, error) {
			text, err := os.ReadFile(path)
			return string(text), err
		}
	}
	return src
}

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
	if stage < exchange.Balancer && ex.Killed() {
		if ex.Lua != nil {
			ex.Lua.Followed() // which nobody waits for any more
		}
		return hangup(ex, 499)
	}
	if ex.Running(stage) {
		return f.goOn(ex, stage)
	}
	if verdict := f.sit(ex, stage, f.scripts[stage]); verdict != exchange.Continue || ex.Lua == nil {
		return verdict
	}
	if ex.Lua.Follows() {
		out, _ := ex.Lua.Followed()
		return f.settle(ex, stage, &out)
	}
	f.fillStage(ex, stage)
	if f.adjoins(ex, stage) {
		if lacks(ex, f.scripts[exchange.Access]) && f.supply(ex) != nil {
			return fail(ex, 431)
		}
		var in luavm.Input
		f.input(ex, stage, &in)
		out := ex.Lua.StartWith(f.scripts[stage], phases[stage], f.scripts[exchange.Access], luavm.PhaseAccess, &in)
		return f.settle(ex, stage, &out)
	}
	minds := stage < exchange.Balancer && f.mindsClient()
	if minds {
		ex.Lua.ClearFlags(luavm.FlagOnAbort)
	}
	var in luavm.Input
	f.input(ex, stage, &in)
	if spans := ex.Spans(); spans != nil {
		spans.BeginPhase(stage, f.scripts[stage].Name())
	}
	out := ex.Lua.Start(f.scripts[stage], phases[stage], &in)
	verdict := f.settle(ex, stage, &out)
	if minds && ex.Running(stage) {
		ex.EndOnAbort(true) // only now: it may have asked to be told
	}
	return verdict
}

// sit sees to it that the exchange has a seat in a VM, and brings what scripts
// see of it up to date. A tunnel that outlived the VMs of its configuration
// gets none.
func (f *Filter) sit(ex *exchange.Exchange, stage exchange.Stage, sc *luavm.Script) exchange.Verdict {
	if ex.Lua == nil {
		slot, err := f.seat(ex)
		if err != nil && ex.Place.Away {
			return exchange.Continue // its end is recorded without the script
		}
		if err != nil {
			return f.unseated(ex, stage, err)
		}
		slot.Owner = ex
		ex.SetSeat(slot)
		ex.Stale = true
	}
	if ex.Stale {
		ex.Stale = false
		if err := f.fillRequest(ex); err != nil {
			f.report.Refused(ex, err)
			return fail(ex, 431)
		}
	}
	if lacks(ex, sc) && f.supply(ex) != nil {
		return fail(ex, 431)
	}
	ex.Lua.UseSockets(f.sockets)
	return exchange.Continue
}

// lacks tells whether sc is known to read variables that are not filled in.
func lacks(ex *exchange.Exchange, sc *luavm.Script) bool {
	return ex.Lua.Deferred()&sc.Reads()&luavm.PartRequest != 0
}

// supply fills in the variables.
func (f *Filter) supply(ex *exchange.Exchange) error {
	err := f.Fill(ex.Lua, luavm.PartRequest)
	ex.Lua.Filled(luavm.PartRequest)
	return err
}

// mindsClient tells whether a client that leaves ends the route's handlers.
func (f *Filter) mindsClient() bool { return f.flags&luavm.FlagCheckAbort != 0 }

// over forgets a handler that has ended.
func (f *Filter) over(ex *exchange.Exchange, stage exchange.Stage) {
	ex.EndRun(stage)
	if spans := ex.Spans(); spans != nil {
		spans.EndPhase(stage, "")
	}
	if stage < exchange.Balancer && f.mindsClient() {
		ex.EndOnAbort(false)
	}
}

// unseated answers where no VM took the exchange.
func (f *Filter) unseated(ex *exchange.Exchange, stage exchange.Stage, err error) exchange.Verdict {
	var raised *luavm.ScriptError
	if errors.As(err, &raised) { // init, in a VM made for the exchange
		return f.failed(ex, stage, raised)
	}
	f.report.Refused(ex, err)
	return fail(ex, 503)
}

// seat gives the exchange a seat in a VM: a subrequest's is its parent's.
func (f *Filter) seat(ex *exchange.Exchange) (*luavm.Slot, error) {
	if ex.Parent == nil {
		if ex.Worker > 0 {
			return f.pool.PinTo(ex.Worker - 1)
		}
		return f.pool.Pin(ex.Conn.ID)
	}
	slot, err := ex.Parent.Lua.Beside()
	if err == nil {
		slot.HandContext(ex.Context)
	}
	return slot, err
}

// goOn resumes every thread of the script whose op is complete.
func (f *Filter) goOn(ex *exchange.Exchange, stage exchange.Stage) exchange.Verdict {
	if refused := f.collect(ex, stage); refused != nil {
		f.over(ex, stage)
		ex.Down.Close()
		if status := bodyStatus(refused); status != 408 {
			if status >= 500 {
				f.report.Refused(ex, refused)
			}
			return fail(ex, status)
		}
		return hangup(ex, 408) // whoever sends no more does not listen, says nginx
	}
	for {
		if stage < exchange.Balancer && ex.Killed() {
			return hangup(ex, 499)
		}
		op := due(ex, stage)
		if op == nil {
			return f.waiting(ex, stage)
		}
		fatal := 0
		if op.Kind == luavm.OpCapture {
			if fatal = captured(ex, op); op.Canceled() {
				fatal = 0 // nobody waits for them any more
			}
		}
		if f.late(ex, stage) {
			return f.failed(ex, stage, &luavm.ScriptError{
				Kind: KindTotalTime, Script: f.scripts[stage].Name(),
				Message: "the phase took longer than lua.total_time, " + f.report.TotalTime.String(),
			})
		}
		if fatal != 0 {
			return hangup(ex, fatal)
		}
		f.fillStage(ex, stage)
		var in luavm.Input
		f.input(ex, stage, &in)
		out := ex.Lua.Resume(op, &in)
		if out.Kind == luavm.Gone {
			continue
		}
		if verdict, over := f.ran(ex, stage, &out); over {
			return verdict
		}
	}
}

// due is an op of the stage's script that is complete, or nil.
func due(ex *exchange.Exchange, stage exchange.Stage) *luavm.Op {
	if op := ex.TakeScript(stage); op != nil {
		return op
	}
	run := ex.LuaRun(stage)
	if len(run.Due) == 0 {
		return nil
	}
	op := run.Due[0]
	run.Due = run.Due[:copy(run.Due, run.Due[1:])]
	return op
}

// collect moves ops that the exchange's own steps have carried out to those
// that are due. The error is why the request's body cannot be had.
func (f *Filter) collect(ex *exchange.Exchange, stage exchange.Stage) error {
	run := ex.LuaRun(stage)
	if run.Emitting {
		run.Emitting = false
		op := run.Asked[0]
		if ex.Place.Lost {
			op.Result = luavm.ResultAborted
		}
		run.Asked = run.Asked[:copy(run.Asked, run.Asked[1:])]
		run.Due = append(run.Due, op)
	}
	done := ex.Take(exchange.OpReadBody)
	if done == nil {
		return nil
	}
	if done.Err != nil {
		return done.Err
	}
	ex.BodyRead = true
	kept := run.Asked[:0]
	for _, op := range run.Asked {
		if isBody(op) {
			run.Due = append(run.Due, op)
		} else {
			kept = append(kept, op)
		}
	}
	run.Asked = kept
	return nil
}

func isBody(op *luavm.Op) bool {
	return op.Kind == luavm.OpReadBody || op.Kind == luavm.OpDiscardBody
}

// settle takes in the outcome of a script's start.
func (f *Filter) settle(ex *exchange.Exchange, stage exchange.Stage, out *luavm.Outcome) exchange.Verdict {
	verdict, over := f.ran(ex, stage, out)
	if over {
		return verdict
	}
	return f.goOn(ex, stage)
}

// ran applies what a run has changed. When the script is over it answers with
// its verdict.
func (f *Filter) ran(ex *exchange.Exchange, stage exchange.Stage, out *luavm.Outcome) (verdict exchange.Verdict, over bool) {
	f.metrics[stage].Observe(ex.Record.Shard, out.Ran)
	if ex.Clock != nil {
		ex.Clock.Pass(out.Ran)
	}
	if out.Ran > ex.LongestRun.Took {
		ex.LongestRun = exchange.Run{Took: out.Ran, Stage: stage, Script: f.scripts[stage].Name()}
	}
	if out.Kind == luavm.Failed {
		return f.failed(ex, stage, out.Err), true
	}
	restart := applyEdits(ex, stage)
	if ex.Lua.Follows() { // what else there is to see is the next one's
		f.over(ex, stage)
		return exchange.Continue, true
	}
	if out.Kind == luavm.Wait && stage == exchange.Body {
		if !ex.Lua.KeepChunk(ex.Chunk) {
			return f.failed(ex, stage, &luavm.ScriptError{
				Kind: luavm.ErrMemory, Script: f.scripts[stage].Name(), Message: "no memory to keep a piece of the body",
			}), true
		}
	} else if stage == exchange.Body || len(ex.Lua.Output()) > 0 {
		takeOutput(ex, stage)
	}
	if out.Kind == luavm.Wait {
		ex.LuaRun(stage).Running = true
		for op := out.Op; op != nil; op = op.Next() {
			f.post(ex, stage, op)
		}
		return 0, false
	}
	f.over(ex, stage)
	return f.verdict(ex, stage, out, restart), true
}

// verdict is what an ended script means for the exchange.
func (f *Filter) verdict(ex *exchange.Exchange, stage exchange.Stage, out *luavm.Outcome, restart bool) exchange.Verdict {
	if restart {
		return exchange.Restart
	}
	if hasRaw(ex) && stage < exchange.Header {
		return exchange.Hangup
	}
	switch stage {
	case exchange.Header:
		return exitHeader(ex, out)
	case exchange.Body, exchange.Log:
		return exchange.Continue
	case exchange.Balancer:
		return chosen(ex, out)
	}
	if out.Kind == luavm.Exit {
		return exit(ex, stage, int(out.Status))
	}
	if stage == exchange.Content || began(ex) {
		return respond(ex)
	}
	return exchange.Continue
}

// post sees to it that what a thread waits for is done.
func (f *Filter) post(ex *exchange.Exchange, stage exchange.Stage, op *luavm.Op) {
	run := ex.LuaRun(stage)
	switch op.Kind {
	case luavm.OpReadBody, luavm.OpDiscardBody:
		if ex.BodyRead || ex.Down.BodyDone() {
			ex.BodyRead = true
			run.Due = append(run.Due, op)
			return
		}
		run.Asked = append(run.Asked, op)
		if !ex.Waiting(exchange.OpReadBody) {
			how := exchange.BodyBuffered
			if op.Kind == luavm.OpDiscardBody {
				how = exchange.BodyDiscarded
			}
			ex.Post(exchange.OpReadBody).Int = how
		}
	case luavm.OpFlush, luavm.OpEOF, luavm.OpSendHeaders:
		run.Asked = append(run.Asked, op)
	case luavm.OpAbort:
		ex.WaitAbort(op, stage)
	case luavm.OpReqRead, luavm.OpReqReadRaw:
		ex.LearnsAbort()
		f.postToDriver(ex, stage, op)
	case luavm.OpLimit:
		if op.DecideAtOnce() {
			run.Due = append(run.Due, op)
			return
		}
		f.postToDriver(ex, stage, op)
	default:
		f.postToDriver(ex, stage, op)
	}
}

func (f *Filter) postToDriver(ex *exchange.Exchange, stage exchange.Stage, op *luavm.Op) {
	op.Until = f.until(ex, stage)
	ex.PostScript(op, stage)
	if ex.Killed() {
		op.Cancel() // which may have come before the op was out
	}
}

// waiting says how a script that goes on later is waited for: the first op that
// wants something sent goes to the gateway.
func (f *Filter) waiting(ex *exchange.Exchange, stage exchange.Stage) exchange.Verdict {
	run := ex.LuaRun(stage)
	for i, op := range run.Asked {
		if isBody(op) {
			continue
		}
		run.Asked[0], run.Asked[i] = op, run.Asked[0]
		run.Emitting = true
		ex.Scripted = true
		if op.Kind == luavm.OpEOF {
			ex.Ended = true
		}
		return exchange.Emit
	}
	return exchange.Wait
}

// KindTotalTime is the kind of error of a phase that took longer, waits
// included, than the configuration allows.
const KindTotalTime luavm.ErrorKind = "total_time"

// until is when the phase must have ended; zero: no bound. It begins with the
// first wait: what ran before it is bounded by cpu_budget.
func (f *Filter) until(ex *exchange.Exchange, stage exchange.Stage) time.Time {
	if f.report.TotalTime == 0 {
		return time.Time{}
	}
	run := ex.LuaRun(stage)
	if run.Until == 0 {
		run.Until = ex.Since(ex.StartNS) + f.report.TotalTime
	}
	return ex.Record.Start.Add(run.Until)
}

// late tells whether the phase has taken longer than it may.
func (f *Filter) late(ex *exchange.Exchange, stage exchange.Stage) bool {
	until := ex.LuaUntil(stage)
	return until > 0 && ex.Since(ex.StartNS) >= until
}

// ErrorIDHeader is the response field that carries the id of a failed script's
// log line.
const ErrorIDHeader = "X-Error-Id"

// failed answers 500 with an id that leads to the log; the traceback stays
// there.
func (f *Filter) failed(ex *exchange.Exchange, stage exchange.Stage, err *luavm.ScriptError) exchange.Verdict {
	if m := f.metrics[stage]; m != nil { // a script of lua.set may be the first of all
		m.Errors.With(string(err.Kind)).Inc()
	}
	f.note(ex, err)
	ex.Spans().EndPhase(stage, err.Error())
	f.over(ex, stage)
	drop(ex)
	if hasRaw(ex) {
		return exchange.Hangup
	}
	return fail(ex, 500)
}

// note logs a script's failure, and gives the client the id of the line.
func (f *Filter) note(ex *exchange.Exchange, err *luavm.ScriptError) {
	ex.Record.ErrorID = f.report.Failed(ex, err)
	if !ex.Place.HeadSent {
		ex.Early().Set(ErrorIDHeader, []byte(ex.Record.ErrorID))
	}
}
