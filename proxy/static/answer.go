package static

import (
	"strconv"
	"time"

	"perigee/proxy/disk"
	"perigee/proxy/exchange"
)

// head makes the head of a file's answer.
func (f *Filter) head(ex *exchange.Exchange, file *disk.File) {
	h := &ex.Resp
	h.SetStatusCode(200)
	if kind := f.types.of(ex.Path); kind != "" && !ex.Typeless {
		h.SetType(kind)
	}
	h.SetLength(file.Size)
	ex.Scratch = time.Unix(file.Modified, 0).UTC().AppendFormat(ex.Scratch[:0], dateFormat)
	h.Set("Last-Modified", ex.Scratch)
	if f.config.ETag {
		ex.Scratch = appendETag(ex.Scratch[:0], file)
		h.Set("ETag", ex.Scratch)
	}
}

// dateFormat is HTTP's preferred form of dates (RFC 9110 §5.6.7).
const dateFormat = "Mon, 02 Jan 2006 15:04:05 GMT"

// appendETag appends nginx's entity tag: time and size in hexadecimal.
func appendETag(dst []byte, file *disk.File) []byte {
	dst = strconv.AppendInt(append(dst, '"'), file.Modified, 16)
	dst = strconv.AppendInt(append(dst, '-'), file.Size, 16)
	return append(dst, '"')
}

// redirect sends a client that asked for a directory to where its relative
// links work. The target is a path alone: whoever stands between knows the
// scheme and the host by which the client came.
func redirect(ex *exchange.Exchange) exchange.Verdict {
	target := append(exchange.AppendEscaped(ex.Scratch[:0], ex.Path), '/')
	if len(ex.Query) > 0 {
		target = append(append(target, '?'), ex.Query...)
	}
	ex.Scratch = target
	// A path that begins with two slashes would name a host.
	for len(target) > 1 && target[1] == '/' {
		target = target[1:]
	}
	ex.Resp.Set("Location", target)
	return answer(ex, 301)
}

// answer gives a status whose body, if it has one, is the gateway's.
func answer(ex *exchange.Exchange, status int) exchange.Verdict {
	switch {
	case status >= 400:
		if status == 444 {
			ex.Resp.SetStatusCode(status)
			return exchange.Hangup
		}
		return fail(ex, status)
	case status == 204 || status == 304:
		ex.Out = ex.Out[:0]
	default:
		ex.Bare = true
	}
	ex.Resp.SetStatusCode(status)
	return exchange.Respond
}
