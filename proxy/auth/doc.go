// Package auth finds out who asks and whether they may: API keys and JSON Web
// Tokens, consumers with groups, roles and scopes, and rules per route.
//
//	access stage                                       what outlives a reload
//	  Filter.Step                                        Registry
//	    | credentials as they arrived, never as           |- files of keys and
//	    | a script left them                               |  consumers, looked at
//	    |-- API key -> SHA-256 -> table ------------------>|  every few seconds
//	    |-- token --> cache: seen and verified before?     '- key sets of issuers,
//	    |              '-- no: form, issuer, key,             fetched in the
//	    |                  signature, claims ---------------> background
//	    |-- rules: allow, deny
//	    v
//	  Exchange.Identity, or 401, 403, 503
//
// A step never waits for a file or a fetch: it uses the last content that was
// good. A key that is in no file may be asked for in Redis or of a script, whose
// answers are remembered. The other wait is an op: a token names a key that the set does not have
// yet, or the set has not been fetched at all; then the request waits, bounded,
// for the fetch that it asked for, and fetches are asked for at most once in
// jwks.min_refresh.
//
// # Who is believed
//
// The algorithm of a token is chosen by the issuer's settings and the key's
// type, never by the token: what the token's header says must agree with both.
// Of the header only alg, kid and typ are read; keys and addresses in it (jwk,
// jku, x5c, x5u) are passed over, crit, b64 and zip are refused. Forms that two
// readers could read differently are refused: base64 that is not canonical,
// JSON with a name twice or bytes that are not UTF-8.
//
// # What is told
//
// Clients are told 401 with a challenge (RFC 9110 section 11.6.1, RFC 6750
// section 3), 403, or 503 when an issuer's keys have never been there, and
// nothing of why. The access log and perigee_auth_decisions_total have the
// reason; no log, error, metric or dump has a credential.
//
// Signatures are checked by github.com/go-jose/go-jose/v4: maintained, of no
// other dependency, its JSON refuses names that come twice, and its callers
// must say which algorithms they take.
package auth
