package script

import (
	"perigee/luavm"
	"perigee/proxy/exchange"
	"perigee/proxy/observe"
)

// BrokenScripts says what becomes of scripts that cannot run.
type BrokenScripts string

// What may become of them.
const (
	RefuseBroken BrokenScripts = "refuse"
	AnswerBroken BrokenScripts = "answer"
)

// Values are the words that are accepted.
func (BrokenScripts) Values() []string {
	return []string{string(RefuseBroken), string(AnswerBroken)}
}

// broken stands at the stage of a script that does not compile or whose file is
// missing, where the configuration wants such a route to answer instead of
// being refused.
type broken struct {
	err     *luavm.ScriptError
	status  int
	metrics *observe.ScriptMetrics
	report  Report
}

// Name implements exchange.Filter.
func (*broken) Name() string { return "lua" }

// Step implements exchange.Filter.
func (b *broken) Step(ex *exchange.Exchange, _ exchange.Stage) exchange.Verdict {
	b.metrics.Errors.With(string(b.err.Kind)).Inc()
	ex.Record.ErrorID = b.report.Failed(ex, b.err)
	return fail(ex, b.status)
}

// cannotRun stands for a script that cannot run; nil: the configuration is to be
// refused for it.
func (f *Filter) cannotRun(source *Source, name string, err error) *broken {
	if !f.report.AnswerBroken {
		return nil
	}
	why, status := &luavm.ScriptError{Kind: luavm.ErrSyntax, Script: name, Message: source.Missing}, 404
	if source.Missing == "" {
		why.Message, status = "failed to load the script: "+message(err), 500
	}
	return &broken{err: why, status: status, metrics: f.report.Metrics(name), report: f.report}
}

// message is what Lua said of a script.
func message(err error) string {
	if why, ok := err.(*luavm.ScriptError); ok {
		return why.Message
	}
	return err.Error()
}

// At is the filter that runs at a stage; nil: there is none. f may be nil.
func (f *Filter) At(stage exchange.Stage) exchange.Filter {
	switch {
	case f == nil:
		return nil
	case f.broken[stage] != nil:
		return f.broken[stage]
	case f.scripts[stage] != nil:
		return f
	}
	return nil
}
