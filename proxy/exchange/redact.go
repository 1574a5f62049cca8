package exchange

import (
	"bytes"
	"strings"
)

// Secrets are names, in small letters, of fields, query arguments and cookies
// whose values logs and traces do not show. Fields have dashes, arguments are
// compared decoded. nil: nothing is hidden.
type Secrets map[string]struct{}

// commonSecrets are the names that credentials have whoever one asks.
var commonSecrets = []string{
	"authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "api-key", "x-auth-token", "x-csrf-token",
	"access_token", "api_key", "apikey", "auth_token", "client_secret", "id_token", "jwt", "passwd", "password",
	"refresh_token", "secret", "sig", "signature", "token", "x-amz-credential", "x-amz-security-token", "x-amz-signature",
}

// NewSecrets are the common names and more.
func NewSecrets(more []string) Secrets {
	s := make(Secrets, len(commonSecrets)+len(more))
	for _, name := range append(commonSecrets, more...) {
		s[strings.ToLower(name)] = struct{}{}
	}
	return s
}

// has tells whether a name, in any case, is among them.
func (s Secrets) has(name []byte) bool {
	var small [64]byte
	if len(name) > len(small) {
		return false
	}
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		small[i] = c
	}
	_, found := s[string(small[:len(name)])]
	return found
}

// anyOf tells whether a query has a secret.
func (s Secrets) anyOf(query []byte) bool {
	for more := len(query) > 0; more; {
		var pair []byte
		pair, query, more = bytes.Cut(query, ampersand)
		key, _ := cut(pair, '=')
		var decoded [64]byte
		if s.has(AppendUnescaped(decoded[:0], key)) {
			return true
		}
	}
	return false
}

// HideSecrets masks secrets in what the record has of the request, and in what
// lines of logs have of it later.
func (ex *Exchange) HideSecrets(s Secrets) {
	if ex.secrets = s; s == nil {
		return
	}
	if s.anyOf(ex.Record.Query) {
		start := len(ex.hidden)
		ex.hidden = ex.editArguments(ex.hidden, ex.Record.Query, s.has, masked)
		ex.Record.Query = ex.hidden[start:]
	}
	ex.Record.Referer = ex.hideInAddress(ex.Record.Referer)
}

// hideInAddress masks secrets in the query of an address.
func (ex *Exchange) hideInAddress(address []byte) []byte {
	at := bytes.IndexByte(address, '?') + 1
	if at == 0 || !ex.secrets.anyOf(address[at:]) {
		return address
	}
	start := len(ex.hidden)
	ex.hidden = append(ex.hidden, address[:at]...)
	ex.hidden = ex.editArguments(ex.hidden, address[at:], ex.secrets.has, masked)
	return ex.hidden[start:]
}

// appendSecret appends what lines of logs have of a variable that may be a secret;
// false: it is none.
func (ex *Exchange) appendSecret(dst []byte, name string) ([]byte, bool) {
	if ex.secrets == nil {
		return dst, false
	}
	var field fieldName
	family, rest, _ := strings.Cut(name, "_")
	secret := false
	switch family {
	case "http":
		if name == "http_referer" {
			return append(dst, ex.Record.Referer...), true
		}
		secret = ex.secrets.has([]byte(field.dashed(rest)))
	case "sent", "upstream":
		if rest, found := strings.CutPrefix(rest, "http_"); found {
			secret = ex.secrets.has([]byte(field.dashed(rest)))
		}
	case "arg":
		secret = ex.secrets.has([]byte(rest))
	case "cookie":
		_, secret = ex.secrets["cookie"]
	}
	if !secret {
		return dst, false
	}
	if before := len(dst); len(ex.AppendVariable(dst, name)) == before {
		return dst, true
	}
	return append(dst, masked...), true
}
