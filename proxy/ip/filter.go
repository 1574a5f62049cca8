package ip

import (
	"perigee/proxy/exchange"
	"perigee/proxy/observe"
)

// Filter answers 403 to clients that the rules keep out, in the access stage.
type Filter struct {
	rules  Rules
	report Report
}

// Report writes to the gateway's log.
type Report func(level observe.Level, ex *exchange.Exchange, message string)

// New makes the filter of checked rules.
func New(rules Rules, report Report) *Filter { return &Filter{rules, report} }

// Name implements exchange.Filter.
func (f *Filter) Name() string { return "ip" }

// Step implements exchange.Filter. Behind trusted proxies the client is whom
// they speak for.
func (f *Filter) Step(ex *exchange.Exchange, _ exchange.Stage) exchange.Verdict {
	if f.rules.Allows(ex.Record.Client.Addr()) {
		return exchange.Continue
	}
	f.report(observe.LevelError, ex, "access forbidden by rule")
	ex.FailStatus = 403
	return exchange.Fail
}
