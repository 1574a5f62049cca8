package observe

import (
	"strconv"
	"time"
)

// UpstreamTime names one of an attempt's times.
type UpstreamTime uint8

// The times of an attempt: nginx's $upstream_connect_time,
// $upstream_header_time and $upstream_response_time.
const (
	ConnectTime UpstreamTime = iota
	HeaderTime
	ResponseTime
)

// AppendUpstreamAddr appends nginx's $upstream_addr: the attempts' endpoints
// with ", " between them, "-" when there was none.
func (r *Record) AppendUpstreamAddr(dst []byte) []byte {
	if r.Tried == 0 {
		return append(dst, '-')
	}
	for i, a := range r.Tries() {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = appendWord(dst, a.Endpoint)
	}
	return dst
}

// AppendUpstreamStatus appends nginx's $upstream_status in the same form.
func (r *Record) AppendUpstreamStatus(dst []byte) []byte {
	if r.Tried == 0 {
		return append(dst, '-')
	}
	for i, a := range r.Tries() {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		if a.Status == 0 {
			dst = append(dst, '-')
			continue
		}
		dst = strconv.AppendInt(dst, int64(a.Status), 10)
	}
	return dst
}

// AppendUpstreamTime appends one of nginx's $upstream_*_time in the same form:
// seconds with three digits after the point, "-" for what was not reached.
func (r *Record) AppendUpstreamTime(dst []byte, which UpstreamTime) []byte {
	if r.Tried == 0 {
		return append(dst, '-')
	}
	for i, a := range r.Tries() {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		d := [...]time.Duration{a.Connect, a.Header, a.Response}[which]
		if d < 0 {
			dst = append(dst, '-')
			continue
		}
		dst = appendMillis(dst, d)
	}
	return dst
}

// appendMillis appends d in seconds with three digits after the point.
func appendMillis(dst []byte, d time.Duration) []byte {
	millis := max(d.Milliseconds(), 0)
	dst = strconv.AppendInt(dst, millis/1e3, 10)
	return appendFraction(dst, millis%1e3, 100)
}
