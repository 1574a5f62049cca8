package exchange

import (
	"bytes"
	"errors"

	"perigee/proxy/wire"
)

// ErrURI says that a request path cannot be understood: a percent sign without
// two hex digits, a NUL, or dot segments that climb over the root.
var ErrURI = errors.New("malformed request path")

// AppendPath appends the decoded and normalized form of a raw request path, as
// nginx's ngx_http_parse_complex_uri makes $uri: percent-encoding decoded, "//"
// merged, "." and ".." resolved.
func AppendPath(dst, raw []byte) ([]byte, error) {
	if len(raw) == 0 {
		return append(dst, '/'), nil
	}
	if raw[0] != '/' {
		return dst, ErrURI
	}
	if plainPath(raw) {
		return append(dst, raw...), nil
	}
	base := len(dst)
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' {
			if i+2 >= len(raw) || hex[raw[i+1]] < 0 || hex[raw[i+2]] < 0 {
				return dst, ErrURI
			}
			c = byte(hex[raw[i+1]])<<4 | byte(hex[raw[i+2]])
			i += 2
		}
		if c == 0 {
			return dst, ErrURI
		}
		if c == '/' {
			var err error
			if dst, err = endSegment(dst, base); err != nil {
				return dst, err
			}
			if len(dst) > base && dst[len(dst)-1] == '/' {
				continue
			}
		}
		dst = append(dst, c)
	}
	return endSegment(dst, base)
}

// endSegment resolves a "." or ".." at the end of dst, which starts at base.
func endSegment(dst []byte, base int) ([]byte, error) {
	path := dst[base:]
	switch {
	case bytes.HasSuffix(path, []byte("/.")):
		return dst[:len(dst)-1], nil
	case bytes.HasSuffix(path, []byte("/..")):
		parent := bytes.LastIndexByte(path[:len(path)-3], '/')
		if parent < 0 {
			return dst, ErrURI
		}
		return dst[:base+parent+1], nil
	}
	return dst, nil
}

// plainPath tells whether a path needs no work: the common case.
func plainPath(raw []byte) bool {
	slash := false
	for _, c := range raw {
		switch {
		case c == '%' || c == 0:
			return false
		case slash && (c == '/' || c == '.'):
			return false
		}
		slash = c == '/'
	}
	return true
}

// hex maps a byte to its value as a hex digit, or -1.
var hex = func() (t [256]int8) {
	for i := range t {
		switch c := byte(i); {
		case c >= '0' && c <= '9':
			t[i] = int8(c - '0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			t[i] = int8(c|0x20-'a') + 10
		default:
			t[i] = -1
		}
	}
	return t
}()

// AppendEscaped appends a decoded path percent-encoded for a request line, as
// nginx's ngx_escape_uri(NGX_ESCAPE_URI): controls, space, '%', '#', '?' and
// bytes from 0x7f on.
func AppendEscaped(dst, path []byte) []byte {
	const digits = "0123456789ABCDEF"
	for _, c := range path {
		if c <= ' ' || c >= 0x7f || c == '%' || c == '#' || c == '?' {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

// AppendTarget appends the request target that is sent on: the client's own
// bytes unless a filter rewrote them.
func (ex *Exchange) AppendTarget(dst []byte) []byte {
	if !ex.Rewritten {
		return ex.appendClientTarget(dst)
	}
	dst = AppendEscaped(dst, ex.Path)
	if len(ex.Query) > 0 {
		dst = append(dst, '?')
		dst = appendQuery(dst, ex.Query)
	}
	return dst
}

// appendQuery appends a query as it is, but for the bytes that would end it or
// the request line: a script may have set it from decoded text.
func appendQuery(dst, query []byte) []byte {
	const digits = "0123456789ABCDEF"
	for _, c := range query {
		if c <= ' ' || c == 0x7f || c == '#' {
			dst = append(dst, '%', digits[c>>4], digits[c&15])
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

func (ex *Exchange) appendClientTarget(dst []byte) []byte {
	path := ex.Head.Path.Of(ex.Raw)
	if len(path) == 0 || path[0] == '?' {
		dst = append(dst, '/') // absolute form without a path (RFC 9112 §3.2.1)
	}
	return append(dst, path...)
}

// AppendHost appends a host as routes compare it: lower case, without port.
func AppendHost(dst, host []byte) []byte {
	for i := len(host) - 1; i >= 0 && host[i] != ']'; i-- {
		if host[i] == ':' {
			host = host[:i]
			break
		}
	}
	if n := len(host); n > 1 && host[n-1] == '.' {
		host = host[:n-1] // the root label: the same name
	}
	return wire.AppendLower(dst, host)
}
