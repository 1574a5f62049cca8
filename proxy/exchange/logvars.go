package exchange

import (
	"encoding/base64"
	"os"
	"strconv"
	"strings"
	"sync"

	"perigee/proxy/observe"
	"perigee/proxy/unit"
	"perigee/proxy/wire"
)

// Escape says how values of variables are written into a line of a log.
type Escape uint8

// The ways, as nginx's log_format has them.
const (
	// EscapeDefault writes quotes, backslashes and all that is not printable
	// ASCII as \xHH, and nothing as "-".
	EscapeDefault Escape = iota
	// EscapeJSON writes what may stand in a JSON string.
	EscapeJSON
	// EscapeNone writes the bytes as they are.
	EscapeNone
)

// AppendEscapedTemplate is AppendTemplate with each variable's value escaped.
func (ex *Exchange) AppendEscapedTemplate(dst []byte, t unit.Template, how Escape) []byte {
	for _, part := range t.Parts() {
		if part.Variable == "" {
			dst = append(dst, part.Literal...)
			continue
		}
		start := len(ex.Scratch)
		ex.Scratch = ex.appendMasked(ex.Scratch, part.Variable)
		value := ex.Scratch[start:]
		switch {
		case how == EscapeDefault && len(value) == 0:
			dst = append(dst, '-')
		case how == EscapeDefault:
			dst = observe.AppendHexEscaped(dst, value)
		case how == EscapeJSON:
			dst = observe.AppendJSONEscaped(dst, value)
		default:
			dst = append(dst, value...)
		}
		ex.Scratch = ex.Scratch[:start]
	}
	return dst
}

// logNames are the variables of appendLogged.
var logNames = []string{
	"body_bytes_sent", "bytes_sent", "content_length", "content_type", "hostname", "https", "msec", "pid", "pipe",
	"remote_user", "request", "request_completion", "request_length", "request_time", "time_iso8601", "time_local",
	"upstream_connect_time", "upstream_header_time", "document_root", "binary_remote_addr",
	"proxy_add_x_forwarded_for", "realip_remote_addr", "realip_remote_port", "request_body", "request_filename",
}

// appendLogged appends variables that are of use in logs most of all.
func (ex *Exchange) appendLogged(dst []byte, name string) []byte {
	rec := &ex.Record
	switch name {
	case "body_bytes_sent":
		return strconv.AppendInt(dst, rec.ResponseBodyBytes, 10)
	case "bytes_sent":
		return strconv.AppendInt(dst, rec.BytesOut, 10)
	case "content_length":
		return append(dst, ex.RequestHeader("content-length")...)
	case "content_type":
		return append(dst, ex.RequestHeader("content-type")...)
	case "hostname":
		return append(dst, hostname()...)
	case "https":
		if ex.Conn.TLS {
			dst = append(dst, "on"...)
		}
	case "pid":
		return strconv.AppendInt(dst, int64(os.Getpid()), 10)
	case "pipe":
		return append(dst, '.') // requests are not told apart by how they came
	case "remote_user":
		return append(dst, ex.basicUser()...)
	case "request":
		return ex.appendRequestLine(dst)
	case "request_completion":
		if rec.Abort == observe.AbortNone {
			dst = append(dst, "OK"...)
		}
	case "request_length":
		return strconv.AppendInt(dst, int64(len(ex.Raw))+rec.RequestBodyBytes, 10)
	case "upstream_connect_time":
		return ex.appendTimes(dst, observe.ConnectTime)
	case "upstream_header_time":
		return ex.appendTimes(dst, observe.HeaderTime)
	case "document_root":
		if ex.Route != nil {
			dst = append(dst, ex.Route.DocumentRoot...)
		}
	case "request_body":
		if ex.BodyRead && !ex.BodyFile.Set() {
			dst = append(dst, ex.Body...)
		}
	case "request_filename":
		if ex.Route != nil {
			dst = append(append(dst, ex.Route.DocumentRoot...), ex.Path...)
		}
	case "binary_remote_addr", "proxy_add_x_forwarded_for", "realip_remote_addr", "realip_remote_port":
		return ex.appendPeer(dst, name)
	default:
		return ex.appendTime(dst, name)
	}
	return dst
}

// appendPeer appends variables about where the request came from.
func (ex *Exchange) appendPeer(dst []byte, name string) []byte {
	switch name {
	case "binary_remote_addr":
		if addr := ex.Record.Client.Addr().Unmap(); addr.IsValid() {
			dst = append(dst, addr.AsSlice()...)
		}
	case "realip_remote_addr":
		return append(dst, ex.Conn.RemoteAddr...)
	case "realip_remote_port":
		return append(dst, ex.Conn.RemotePort...)
	case "proxy_add_x_forwarded_for":
		for i := range ex.Head.Fields {
			if f := &ex.Head.Fields[i]; f.ID == wire.FieldXForwardedFor {
				dst = append(append(dst, f.Value.Of(ex.Raw)...), ", "...)
			}
		}
		return append(dst, ex.Conn.RemoteAddr...)
	}
	return dst
}

func (ex *Exchange) appendTimes(dst []byte, which observe.UpstreamTime) []byte {
	if ex.Record.Tried == 0 {
		return dst
	}
	return ex.Record.AppendUpstreamTime(dst, which)
}

// appendTime appends variables about time: of the line, which is written when
// the exchange ends, or of now.
func (ex *Exchange) appendTime(dst []byte, name string) []byte {
	rec := &ex.Record
	passed := rec.Duration
	if passed == 0 {
		passed = ex.Since(ex.StartNS)
	}
	now := rec.Start.Add(passed)
	switch name {
	case "msec":
		return strconv.AppendFloat(dst, float64(now.UnixMilli())/1e3, 'f', 3, 64)
	case "request_time":
		return strconv.AppendFloat(dst, float64(passed.Milliseconds())/1e3, 'f', 3, 64)
	case "time_iso8601":
		return now.AppendFormat(dst, "2006-01-02T15:04:05-07:00")
	case "time_local":
		return now.AppendFormat(dst, "02/Jan/2006:15:04:05 -0700")
	}
	return dst
}

// appendRequestLine appends the request line as it came.
func (ex *Exchange) appendRequestLine(dst []byte) []byte {
	if ex.Head.Method.Len() == 0 || ex.Refusal != nil {
		return dst
	}
	dst = append(dst, ex.Head.Method.Of(ex.Raw)...)
	dst = append(dst, ' ')
	dst = append(dst, ex.Head.Target.Of(ex.Raw)...)
	dst = append(dst, ' ')
	return append(dst, ex.Record.Protocol...)
}

var hostname = sync.OnceValue(func() string {
	name, _ := os.Hostname()
	return name
})

// basicUser is the name in the request's Basic credentials, "" if it has none;
// whether it is the client's has not been asked.
func (ex *Exchange) basicUser() string {
	f, ok := ex.Head.Find(wire.FieldAuthorization)
	if !ok {
		return ""
	}
	scheme, encoded, _ := strings.Cut(string(f.Value.Of(ex.Raw)), " ")
	if !strings.EqualFold(scheme, "basic") {
		return ""
	}
	text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return ""
	}
	user, _, _ := strings.Cut(string(text), ":")
	return user
}
