package observe

import (
	"cmp"
	"sync/atomic"
	"time"
)

// AuthMethod is what a client showed to say who it is.
type AuthMethod uint8

// The methods.
const (
	AuthNone AuthMethod = iota
	AuthAPIKey
	AuthJWT
	AuthExternal // what a script or a certificate says
	AuthSeveral  // more than one of them
	authMethods
)

var authMethodNames = [authMethods]string{"none", "api_key", "jwt", "external", "several"}

// String is the method's name in metrics and access lines.
func (m AuthMethod) String() string {
	if m < authMethods {
		return authMethodNames[m]
	}
	return "unknown"
}

// AuthOutcome is what auth made of a request. Operators see it; clients are
// told 401, 403 or 503 and no more.
type AuthOutcome uint8

// The outcomes.
const (
	AuthNotAsked        AuthOutcome = iota
	AuthAllowed                     // known, and the rules let it pass
	AuthAnonymous                   // nothing shown where nothing is needed
	AuthMissing                     // nothing shown where something is needed
	AuthMalformed                   // shown, and not of its form
	AuthDuplicate                   // shown twice
	AuthUnknown                     // no such API key
	AuthExpired                     // key or token, after its time
	AuthNotYet                      // a token before its time
	AuthAlgorithm                   // the issuer does not sign like that
	AuthIssuer                      // no issuer that is trusted here
	AuthUnknownKey                  // the issuer has no such key
	AuthSignature                   // the signature is not of the issuer's key
	AuthAudience                    // meant for others
	AuthClaims                      // signed, but what it says cannot be used
	AuthConsumer                    // names a consumer that it must not, or two
	AuthForbidden                   // known, and the rules keep it out
	AuthKeysUnavailable             // the issuer's keys have never been there
	authOutcomes
)

var authOutcomeNames = [authOutcomes]string{
	"", "allowed", "anonymous", "missing", "malformed", "duplicate", "unknown", "expired",
	"not_yet_valid", "algorithm", "issuer", "unknown_key", "signature", "audience", "claims",
	"consumer", "forbidden", "keys_unavailable",
}

// String is the outcome's name in metrics and access lines; "" for AuthNotAsked.
func (o AuthOutcome) String() string {
	if o < authOutcomes {
		return authOutcomeNames[o]
	}
	return "unknown"
}

// AuthMetrics are the decisions of one route. A cell takes memory when its
// method and outcome first meet.
type AuthMetrics struct {
	shards int
	cells  [authMethods][authOutcomes]atomic.Pointer[Counts]
}

// Auth returns the series of the route's decisions. Ask when the snapshot is
// built, keep the handle.
func (m *Metrics) Auth(route string) *AuthMetrics {
	return m.auth.get(route, m.generation.building(), func() *AuthMetrics {
		return &AuthMetrics{shards: m.shards}
	})
}

// Observe counts the decision that rec holds.
func (a *AuthMetrics) Observe(rec *Record) {
	cell := &a.cells[rec.AuthMethod%authMethods][rec.AuthOutcome%authOutcomes]
	n := cell.Load()
	if n == nil {
		n = loadOrMake(cell, func() *Counts { return newCounts(a.shards) })
	}
	n.Add(rec.Shard, 1)
}

// Count is how often a decision was made.
func (a *AuthMetrics) Count(method AuthMethod, outcome AuthOutcome) int64 {
	if n := a.cells[method][outcome].Load(); n != nil {
		return n.Value()
	}
	return 0
}

// KeySetMetrics are the series of one issuer's key set that is fetched.
type KeySetMetrics struct {
	// Fetches counts by outcome: "fetched", "unchanged", "failed".
	Fetches Reasons
	// Keys is how many usable keys the set has.
	Keys    Gauge
	fetched atomic.Pointer[time.Time] // the last good fetch, with its monotonic reading
}

// KeySet returns the series of the key set at that address.
func (m *Metrics) KeySet(url string) *KeySetMetrics {
	return m.keySets.get(url, m.generation.building(), func() *KeySetMetrics { return new(KeySetMetrics) })
}

// SetFetched notes when the set was fetched well for the last time.
func (k *KeySetMetrics) SetFetched(at time.Time) { k.fetched.Store(&at) }

// AuthFileMetrics are the series of one file with keys or consumers.
type AuthFileMetrics struct {
	// Reads counts by outcome: "applied", "refused".
	Reads Reasons
	// Broken is 1 while what the file says is not what is served.
	Broken Gauge
}

// AuthFile returns the series of the file with that path.
func (m *Metrics) AuthFile(path string) *AuthFileMetrics {
	return m.authFiles.get(path, m.generation.building(), func() *AuthFileMetrics { return new(AuthFileMetrics) })
}

func (m *Metrics) writeAuth(e *exposition) {
	e.family("perigee_auth_decisions_total", "counter", "Requests by what they showed to say who they are, and what came of it.")
	m.auth.each(cmp.Compare[string], func(route string, a *AuthMetrics) {
		for method := range a.cells {
			for outcome := range a.cells[method] {
				if n := a.cells[method][outcome].Load(); n != nil {
					e.labels("route", route, "method", AuthMethod(method).String(), "outcome", AuthOutcome(outcome).String())
					e.count(uint64(n.Value()))
				}
			}
		}
	})
	e.family("perigee_jwks_age_seconds", "gauge", "Time since an issuer's key set was fetched well; no series before the first time.")
	m.keySets.each(cmp.Compare[string], func(url string, k *KeySetMetrics) {
		if at := k.fetched.Load(); at != nil {
			e.labels("url", url)
			e.float(time.Since(*at).Seconds())
		}
	})
	e.family("perigee_jwks_keys", "gauge", "Usable keys of an issuer's key set.")
	m.keySets.each(cmp.Compare[string], func(url string, k *KeySetMetrics) {
		e.labels("url", url)
		e.integer(k.Keys.Value())
	})
	e.family("perigee_jwks_fetches_total", "counter", "Fetches of an issuer's key set by outcome.")
	m.keySets.each(cmp.Compare[string], func(url string, k *KeySetMetrics) {
		k.Fetches.each(func(outcome string, n uint64) {
			e.labels("url", url, "outcome", outcome)
			e.count(n)
		})
	})
	e.family("perigee_auth_file_reads_total", "counter", "Readings of files with keys or consumers by outcome.")
	m.authFiles.each(cmp.Compare[string], func(path string, f *AuthFileMetrics) {
		f.Reads.each(func(outcome string, n uint64) {
			e.labels("file", path, "outcome", outcome)
			e.count(n)
		})
	})
	e.family("perigee_auth_file_broken", "gauge", "1 while a file with keys or consumers cannot be used and its last good content is.")
	m.authFiles.each(cmp.Compare[string], func(path string, f *AuthFileMetrics) {
		e.labels("file", path)
		e.integer(f.Broken.Value())
	})
}
