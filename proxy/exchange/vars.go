package exchange

import (
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"perigee/proxy/unit"
)

// AppendTemplate appends a template with the exchange's variables.
func (ex *Exchange) AppendTemplate(dst []byte, t unit.Template) []byte {
	for _, part := range t.Parts() {
		if part.Variable == "" {
			dst = append(dst, part.Literal...)
			continue
		}
		dst = ex.AppendVariable(dst, part.Variable)
	}
	return dst
}

// AppendVariable appends the value of a variable by nginx's name, nothing if it
// has none.
func (ex *Exchange) AppendVariable(dst []byte, name string) []byte {
	for i := range ex.Vars {
		if ex.Vars[i].Name == name {
			return append(dst, ex.Vars[i].Value...)
		}
	}
	if m := ex.Maps[name]; m != nil {
		return ex.appendMapped(dst, name, m)
	}
	if len(name) == 1 && name[0] >= '1' && name[0] <= '9' {
		if i := int(name[0] - '1'); i < len(ex.Captures) {
			dst = append(dst, ex.Captures[i]...)
		}
		return dst
	}
	switch {
	case strings.HasPrefix(name, "http_"):
		var field fieldName
		return append(dst, ex.RequestHeader(field.dashed(name[len("http_"):]))...)
	case strings.HasPrefix(name, "sent_http_"):
		var field fieldName
		return append(dst, ex.Resp.Peek(field.dashed(name[len("sent_http_"):]))...)
	case strings.HasPrefix(name, "upstream_http_"):
		if ex.Place.Source != FromUpstream {
			return dst
		}
		// What the client is sent has come from there; the upstream's own head
		// does not last until the log.
		var field fieldName
		return append(dst, ex.Resp.Peek(field.dashed(name[len("upstream_http_"):]))...)
	case strings.HasPrefix(name, "arg_"):
		return append(dst, Argument(ex.Query, name[len("arg_"):])...)
	case strings.HasPrefix(name, "cookie_"):
		return append(dst, cookie(ex.RequestHeader("cookie"), name[len("cookie_"):])...)
	}
	if identityVariable(name) {
		return append(dst, ex.Identity.Var(name)...)
	}
	return ex.appendKnown(dst, name)
}

// knownNames are the variables of appendKnown.
var knownNames = []string{
	"uri", "document_uri", "request_uri", "args", "query_string", "is_args", "host",
	"request_method", "scheme", "server_protocol", "remote_addr", "remote_port",
	"server_addr", "server_port", "server_name", "request_id", "status", "connection",
	"connection_requests", "route", "trace_id", "span_id", "traceparent", "upstream_addr", "upstream_status", "upstream_response_time",
}

// KnownVariable tells whether AppendVariable knows a name by itself; captures
// and the configuration's variables come on top.
func KnownVariable(name string) bool {
	for _, prefix := range []string{"http_", "sent_http_", "upstream_http_", "arg_", "cookie_"} {
		if strings.HasPrefix(name, prefix) && len(name) > len(prefix) {
			return true
		}
	}
	return slices.Contains(knownNames, name) || slices.Contains(logNames, name) || slices.Contains(TLSVariables, name) || identityVariable(name)
}

// appendKnown appends variables that have one name each.
func (ex *Exchange) appendKnown(dst []byte, name string) []byte {
	switch name {
	case "uri", "document_uri":
		return append(dst, ex.Path...)
	case "request_uri":
		return ex.appendClientTarget(dst)
	case "args", "query_string":
		return append(dst, ex.Query...)
	case "is_args":
		if len(ex.Query) > 0 {
			dst = append(dst, '?')
		}
		return dst
	case "host":
		return append(dst, ex.Host...)
	case "request_method":
		return append(dst, ex.Req.Method()...)
	case "scheme":
		return append(dst, ex.Record.Scheme...)
	case "server_protocol":
		return append(dst, ex.Record.Protocol...)
	case "remote_addr":
		if ex.Record.Client == ex.Conn.Peer {
			return append(dst, ex.Conn.RemoteAddr...) // of a unix socket there is only this
		}
		return ex.Record.Client.Addr().AppendTo(dst)
	case "remote_port":
		return append(dst, ex.Conn.RemotePort...)
	case "server_addr":
		return append(dst, ex.Conn.LocalAddr...)
	case "server_port":
		return append(dst, ex.Conn.LocalPort...)
	case "server_name":
		return append(dst, ex.Host...)
	case "request_id":
		return append(dst, ex.Record.ID[:]...)
	case "status":
		status := ex.Record.Status // of the answer that was sent
		if status == 0 {
			status = ex.Resp.StatusCode()
		}
		return strconv.AppendInt(dst, int64(status), 10)
	case "connection":
		return strconv.AppendUint(dst, ex.Conn.ID, 10)
	case "connection_requests":
		return strconv.AppendUint(dst, ex.Conn.Requests, 10)
	case "route":
		return append(dst, ex.Record.Route...)
	case "ssl_protocol", "ssl_cipher", "ssl_server_name", "ssl_client_verify", "ssl_client_s_dn", "ssl_client_i_dn":
		return append(dst, ex.Conn.TLSVariable(name)...)
	case "trace_id", "span_id", "traceparent":
		return ex.appendTrace(dst, name)
	case "upstream_addr", "upstream_status", "upstream_response_time":
		return ex.AppendTries(dst, name)
	}
	return ex.appendLogged(dst, name)
}

// AppendTries appends a value per attempt at the upstream, separated as nginx
// does it: ", ".
func (ex *Exchange) AppendTries(dst []byte, name string) []byte {
	for i, a := range ex.Record.Tries() {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		switch name {
		case "upstream_addr":
			dst = append(dst, a.Endpoint...)
		case "upstream_status":
			dst = strconv.AppendInt(dst, int64(a.Status), 10)
		default:
			if a.Response < 0 {
				dst = append(dst, '-')
				continue
			}
			dst = strconv.AppendFloat(dst, a.Response.Seconds(), 'f', 3, 64)
		}
	}
	return dst
}

// Argument returns the raw value of the first query argument of that name,
// compared without case as nginx's $arg_ does.
func Argument(query []byte, name string) []byte {
	for len(query) > 0 {
		var pair []byte
		pair, query = cut(query, '&')
		key, value := cut(pair, '=')
		if sameName(key, name) {
			return value
		}
	}
	return nil
}

func cookie(header []byte, name string) []byte {
	for len(header) > 0 {
		var pair []byte
		pair, header = cut(header, ';')
		for len(pair) > 0 && pair[0] == ' ' {
			pair = pair[1:]
		}
		if key, value := cut(pair, '='); sameName(key, name) {
			return value
		}
	}
	return nil
}

func cut(b []byte, at byte) (before, after []byte) {
	for i, c := range b {
		if c == at {
			return b[:i], b[i+1:]
		}
	}
	return b, nil
}

// fieldName is memory for the name of a field.
type fieldName [64]byte

// dashed makes a field name of the tail of a variable's name. It is valid as long
// as f is.
func (f *fieldName) dashed(name string) string {
	if strings.IndexByte(name, '_') < 0 {
		return name
	}
	if len(name) > len(f) {
		return strings.ReplaceAll(name, "_", "-")
	}
	for i := range len(name) {
		if f[i] = name[i]; f[i] == '_' {
			f[i] = '-'
		}
	}
	return unsafe.String(&f[0], len(name))
}

// HasArgument tells whether the query names an argument, with a value or not.
func HasArgument(query []byte, name string) bool {
	for len(query) > 0 {
		var pair []byte
		pair, query = cut(query, '&')
		if key, _ := cut(pair, '='); sameName(key, name) {
			return true
		}
	}
	return false
}

// AppendUnescaped appends a query's text decoded: percent sequences and '+'.
func AppendUnescaped(dst, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(text) && hex[text[i+1]] >= 0 && hex[text[i+2]] >= 0:
			c = byte(hex[text[i+1]])<<4 | byte(hex[text[i+2]])
			i += 2
		}
		dst = append(dst, c)
	}
	return dst
}

// SetQuery replaces the query; the exchange keeps a copy.
func (ex *Exchange) SetQuery(query []byte) {
	ex.query = append(ex.query[:0], query...)
	ex.Query = ex.query
	ex.Rewritten = true
}

// SetVariable sets a variable of the exchange.
func (ex *Exchange) SetVariable(name, value []byte) {
	for i := range ex.Vars {
		if ex.Vars[i].Name == string(name) {
			ex.Vars[i].Value = string(value)
			return
		}
	}
	ex.Vars = append(ex.Vars, Var{string(name), string(value)})
}
