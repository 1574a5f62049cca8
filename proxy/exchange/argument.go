package exchange

import "bytes"

var ampersand = []byte{'&'}

// masked stands in access lines for the value of an argument that is a secret.
const masked = "***"

// HideArgument masks the values of a query argument in the record, and so in the
// access log and the process log. name is compared decoded.
func (ex *Exchange) HideArgument(name string) {
	start := len(ex.hidden) // behind what the record's query may be in
	ex.hidden = ex.editArguments(ex.hidden, ex.Record.Query, func(key []byte) bool { return string(key) == name }, masked)
	ex.Record.Query = ex.hidden[start:]
}

// appendMasked is AppendVariable for log lines: variables that have the query in
// them have it as the record does.
func (ex *Exchange) appendMasked(dst []byte, name string) []byte {
	if dst, secret := ex.appendSecret(dst, name); secret {
		return dst
	}
	if len(ex.hidden) == 0 {
		return ex.AppendVariable(dst, name)
	}
	rec := &ex.Record
	switch name {
	case "args", "query_string":
		return append(dst, rec.Query...)
	case "request", "request_uri":
		if name == "request" {
			dst = append(append(dst, rec.Method...), ' ')
		}
		dst = append(append(append(dst, rec.Path...), '?'), rec.Query...)
		if name == "request" {
			dst = append(append(dst, ' '), rec.Protocol...)
		}
		return dst
	}
	return ex.AppendVariable(dst, name)
}

// RemoveArgument takes an argument out of the query that is sent on. The others
// stay as they are written.
func (ex *Exchange) RemoveArgument(name string) {
	start := len(ex.Scratch)
	ex.Scratch = ex.editArguments(ex.Scratch, ex.Query, func(key []byte) bool { return string(key) == name }, "")
	if left := ex.Scratch[start:]; len(left) != len(ex.Query) {
		ex.SetQuery(left)
		ex.Stale = true
	}
	ex.Scratch = ex.Scratch[:start]
}

// editArguments appends query to dst, with the values of the arguments that are
// meant, by their decoded names, replaced, or without them for an empty value.
func (ex *Exchange) editArguments(dst, query []byte, meant func(key []byte) bool, value string) []byte {
	first := true
	for more := true; more; {
		var pair []byte
		if pair, query, more = bytes.Cut(query, ampersand); !more && len(pair) == 0 && first {
			break
		}
		key, _ := cut(pair, '=')
		var decoded [64]byte
		same := meant(AppendUnescaped(decoded[:0], key))
		if same && value == "" {
			continue
		}
		if !first {
			dst = append(dst, '&')
		}
		first = false
		if !same {
			dst = append(dst, pair...)
			continue
		}
		dst = append(append(append(dst, key...), '='), value...)
	}
	return dst
}
