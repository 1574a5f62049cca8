package auth

import (
	"crypto/sha256"
	"slices"
	"sort"
	"time"

	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/unit"
	"perigee/proxy/wire"
)

// Filter finds out who asks, in the access stage, and lets pass or refuses.
type Filter struct {
	config   Config
	metrics  *observe.AuthMetrics
	report   Report
	key      *place          // nil: no API keys
	memory   *memory         // of keys that are asked for; nil: all keys are in tables
	store    *store          // who is asked
	script   exchange.Filter // who is asked in its place
	token    *place          // nil: no tokens
	issuers  []*issuer
	verifier *verifier
	external *External // nil: no variables
	outside  *tokenCache
	known    *directory
	headers  []upstreamField
	// challenges are the WWW-Authenticate values: of a request that showed nothing,
	// of one whose credential is bad, of one whose bearer may not.
	ask, bad, scope []string
}

// upstreamField is a field for the upstream.
type upstreamField struct {
	name  string
	value unit.Template
}

// Report writes to the gateway's log.
type Report func(level observe.Level, ex *exchange.Exchange, message string)

// Filter makes the filter of a checked block.
func (p *Parts) Filter(c *Config, metrics *observe.AuthMetrics, report Report) *Filter {
	f := &Filter{config: *c, metrics: metrics, report: report, known: p.directories[""], verifier: &p.verifier}
	if k := c.APIKey; k != nil {
		at := newPlace(k.Header, k.Scheme, k.Query, k.Cookie, keyHeader)
		at.forward = k.Forward
		f.key = &at
		f.known = p.directories[k.KeysFile]
		if f.store = p.stores[k]; f.store != nil {
			f.memory = f.store.memory
		}
	}
	if j := c.JWT; j != nil {
		scheme := j.Scheme
		switch scheme {
		case "":
			scheme = "Bearer"
		case "none":
			scheme = ""
		}
		at := newPlace(j.Header, scheme, j.Query, j.Cookie, tokenHeader)
		at.forward = j.Forward
		f.token = &at
		names := j.Issuers
		if len(names) == 0 {
			names = p.names
		}
		for _, name := range names {
			f.issuers = append(f.issuers, p.issuers[name])
		}
	}
	if f.external = c.External; f.external != nil {
		f.outside = newTokenCache(externals)
	}
	for name, value := range c.Headers {
		f.headers = append(f.headers, upstreamField{name, value})
	}
	sort.Slice(f.headers, func(i, j int) bool { return f.headers[i].name < f.headers[j].name })
	f.challenge()
	return f
}

// challenge writes what refused clients are told (RFC 6750 §3).
func (f *Filter) challenge() {
	realm := ` realm="` + f.config.Realm + `"`
	if f.token != nil {
		f.ask = append(f.ask, "Bearer"+realm)
		f.bad = append(f.bad, "Bearer"+realm+`, error="invalid_token"`)
		f.scope = append(f.scope, "Bearer"+realm+`, error="insufficient_scope"`)
	}
	if f.key != nil {
		scheme := f.key.scheme
		if scheme == "" {
			scheme = "ApiKey"
		}
		f.ask, f.bad = append(f.ask, scheme+realm), append(f.bad, scheme+realm)
	}
}

// Name implements exchange.Filter.
func (f *Filter) Name() string { return "auth" }

// Step implements exchange.Filter.
func (f *Filter) Step(ex *exchange.Exchange, stage exchange.Stage) exchange.Verdict {
	var had *lookup // what has been waited for
	if f.script != nil && ex.Running(stage) {
		had = f.shownKey(ex)
		if verdict, answered := f.askScript(ex, stage, had); !answered {
			return verdict
		}
	}
	if ex.Waiting(exchange.OpTask) {
		if ex.Take(exchange.OpTask) == nil {
			return exchange.Wait
		}
		if had, _ = ex.Task.(*lookup); had == nil {
			ex.AuthWaited = true
		}
	}
	shown := f.look(ex, had)
	if key := &shown[observe.AuthAPIKey]; key.ask != nil {
		if f.script == nil {
			return waitFor(ex, key.ask)
		}
		had = f.shownKey(ex)
		if verdict, answered := f.askScript(ex, stage, had); !answered {
			return verdict
		}
		shown = f.look(ex, had)
	}
	if token := &shown[observe.AuthJWT]; token.wait != nil && !ex.AuthWaited {
		return waitFor(ex, token.wait)
	}
	ex.AuthWaited = false // the next route may wait again
	method, outcome := f.join(&shown)
	ex.Record.AuthMethod = method
	switch outcome {
	case observe.AuthAllowed:
	case observe.AuthAnonymous:
		ex.Identify(nil)
		return f.pass(ex, outcome)
	default:
		return f.refuse(ex, outcome)
	}
	id := shown[method].identity
	if method == observe.AuthSeveral {
		if id = shown.joined(); id == nil {
			return f.refuse(ex, observe.AuthConsumer)
		}
	}
	ex.Identify(id)
	if !f.permits(id) {
		return f.refuse(ex, observe.AuthForbidden)
	}
	return f.pass(ex, observe.AuthAllowed)
}

func waitFor(ex *exchange.Exchange, task exchange.Task) exchange.Verdict {
	ex.Task = task
	ex.Post(exchange.OpTask)
	return exchange.Wait
}

// results are what a request shows, by method. An outcome of AuthMissing is
// nothing, and AuthNotAsked a method that the route does not have.
type results [observe.AuthSeveral + 1]result

// look judges what the request shows. had is the answer to an earlier look's
// question; nil: there was none.
func (f *Filter) look(ex *exchange.Exchange, had *lookup) (shown results) {
	known, now := f.known.current.Load(), ex.Record.Start
	scratch := len(ex.Scratch)
	var text []byte
	if f.key != nil {
		key := &shown[observe.AuthAPIKey]
		if text, key.outcome = f.key.find(ex); key.outcome == observe.AuthAllowed {
			*key = f.find(known, text, had, now)
		}
	}
	if f.token != nil {
		token := &shown[observe.AuthJWT]
		if text, token.outcome = f.token.find(ex); token.outcome == observe.AuthAllowed {
			*token = f.verifier.verify(text, f.issuers, known, now)
		}
	}
	if f.external != nil {
		shown[observe.AuthExternal] = f.external.look(ex, f.outside, known)
	}
	ex.Scratch = ex.Scratch[:scratch]
	return shown
}

// find looks a key up: in the tables, in what the store has said, in the store.
func (f *Filter) find(known *table, text []byte, had *lookup, now time.Time) (r result) {
	sum := sha256.Sum256(text)
	if r.identity, r.outcome = known.find(&sum, now); r.outcome != observe.AuthUnknown || f.memory == nil {
		return r
	}
	a := f.memory.find(&sum)
	switch {
	case had != nil && had.sum == sum:
		if a = had.answer; a == nil {
			return result{outcome: observe.AuthKeysUnavailable}
		}
	case a == nil || !now.Before(a.fresh):
		return result{outcome: observe.AuthUnknown, ask: &lookup{store: f.store, sum: sum}}
	}
	r.identity, r.outcome = a.judge(now)
	return r
}

// join says what was shown and what the whole of it is worth: all that is shown
// must be good.
func (f *Filter) join(shown *results) (method observe.AuthMethod, outcome observe.AuthOutcome) {
	count := 0
	for m := range shown {
		switch r := &shown[m]; r.outcome {
		case observe.AuthNotAsked, observe.AuthMissing:
		default:
			if count++; outcome == observe.AuthNotAsked || outcome == observe.AuthAllowed {
				method, outcome = observe.AuthMethod(m), r.outcome
			}
		}
	}
	switch {
	case count == 0 && f.config.Optional:
		return observe.AuthNone, observe.AuthAnonymous
	case count == 0:
		return observe.AuthNone, observe.AuthMissing
	case outcome != observe.AuthAllowed:
		return method, outcome
	case f.config.Require == RequireAll && count < f.config.methods():
		return method, observe.AuthMissing
	case count > 1:
		method = observe.AuthSeveral
	}
	return method, outcome
}

// joined is the identity of everything that was shown; nil: it is of several
// consumers.
func (shown *results) joined() *exchange.Identity {
	id := exchange.Identity{Credential: observe.AuthSeveral.String()}
	for m := range shown {
		one := shown[m].identity
		if one == nil {
			continue
		}
		if id.Consumer != "" && id.Consumer != one.Consumer {
			return nil
		}
		id.Consumer = one.Consumer
		id.Groups = append(id.Groups, one.Groups...)
		id.Roles = append(id.Roles, one.Roles...)
		id.Scopes = append(id.Scopes, one.Scopes...)
	}
	token := shown[observe.AuthJWT].identity
	if token != nil {
		id.Issuer, id.Subject = token.Issuer, token.Subject
	}
	if key := shown[observe.AuthAPIKey].identity; key != nil {
		id.Key = key.Key
	}
	return exchange.NewIdentity(id, token.Claims())
}

// permits tells whether the rules let somebody pass who is known.
func (f *Filter) permits(id *exchange.Identity) bool {
	allow, deny := &f.config.Allow, &f.config.Deny
	switch {
	case slices.Contains(deny.Consumers, id.Consumer), member(deny.Groups, id.Groups), member(deny.Roles, id.Roles):
		return false
	case len(allow.Consumers) > 0 && !slices.Contains(allow.Consumers, id.Consumer):
		return false
	case len(allow.Groups) > 0 && !member(allow.Groups, id.Groups):
		return false
	case len(allow.Roles) > 0 && !member(allow.Roles, id.Roles):
		return false
	}
	return f.scopes(id)
}

// scopes tells whether somebody has all the scopes that are asked for.
func (f *Filter) scopes(id *exchange.Identity) bool {
	for _, scope := range f.config.Allow.Scopes {
		if !slices.Contains(id.Scopes, scope) {
			return false
		}
	}
	return true
}

// pass lets the request go on, without its credentials.
func (f *Filter) pass(ex *exchange.Exchange, outcome observe.AuthOutcome) exchange.Verdict {
	ex.Record.AuthOutcome = outcome
	f.metrics.Observe(&ex.Record)
	ex.DropGuards()
	if f.key != nil && outcome == observe.AuthAllowed {
		f.key.remove(ex)
	}
	if f.token != nil && outcome == observe.AuthAllowed {
		f.token.remove(ex)
	}
	for i := range f.headers {
		h := &f.headers[i]
		ex.HeadEdited = true
		removeLookalikes(ex, h.name)
		start := len(ex.Scratch)
		ex.Scratch = ex.AppendTemplate(ex.Scratch, h.value)
		if value := ex.Scratch[start:]; len(value) == 0 {
			ex.DelRequestHeader(h.name)
		} else {
			ex.SetRequestHeader(h.name, value)
		}
		ex.Scratch = ex.Scratch[:start]
	}
	return exchange.Continue
}

// removeLookalikes takes out what a client has sent under names that servers may
// read as this one: CGI and its heirs do not tell "-" from "_".
func removeLookalikes(ex *exchange.Exchange, name string) {
	for i := range ex.Head.Fields {
		if field := &ex.Head.Fields[i]; field.ID == wire.FieldOther && lookalike(field.Name.Of(ex.Raw), name) {
			ex.DelRequestHeader(string(field.Name.Of(ex.Raw)))
		}
	}
}

// lookalike tells whether two names differ, but only in "-" and "_" and in case.
func lookalike(field []byte, name string) bool {
	if len(field) != len(name) {
		return false
	}
	differs := false
	for i, c := range field {
		d := name[i]
		switch {
		case c == d, c|0x20 == d|0x20 && c|0x20 >= 'a' && c|0x20 <= 'z':
		case (c == '-' || c == '_') && (d == '-' || d == '_'):
			differs = true
		default:
			return false
		}
	}
	return differs
}

// guesses tells whether an outcome is a credential that is not good: limits of
// auth failures count these. Somebody who is known has not guessed, and nobody
// is to blame for keys that cannot be had.
func guesses(outcome observe.AuthOutcome) bool {
	switch outcome {
	case observe.AuthMissing, observe.AuthForbidden, observe.AuthConsumer, observe.AuthKeysUnavailable:
		return false
	}
	return true
}

// refuse ends the request. The client learns no more than the status says.
func (f *Filter) refuse(ex *exchange.Exchange, outcome observe.AuthOutcome) exchange.Verdict {
	rec := &ex.Record
	rec.AuthOutcome = outcome
	f.metrics.Observe(rec)
	f.report(observe.LevelInfo, ex, "auth refused the request: "+rec.AuthMethod.String()+", "+outcome.String())
	if !guesses(outcome) {
		ex.DropGuards()
	}
	ex.ChargeGuards()
	var challenges []string
	switch outcome {
	case observe.AuthForbidden:
		ex.FailStatus = 403
		if rec.AuthMethod == observe.AuthJWT && !f.scopes(ex.Identity) {
			challenges = f.scope
		}
	case observe.AuthConsumer:
		ex.FailStatus = 403
	case observe.AuthKeysUnavailable:
		ex.FailStatus = 503
	case observe.AuthMissing:
		ex.FailStatus, challenges = 401, f.ask
	default:
		ex.FailStatus, challenges = 401, f.bad
	}
	if ex.HasEarly() { // of a page for an error that is refused itself
		ex.Early().Del("WWW-Authenticate")
	}
	for _, text := range challenges {
		ex.Early().Add("WWW-Authenticate", []byte(text))
	}
	return exchange.Fail
}
