package observe

import (
	"context"
	"encoding/hex"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"
)

// lineHead is what stands before a message.
type lineHead struct {
	at    time.Time
	level Level
	rec   *Record // nil outside of an exchange
}

// appendHead appends "TIME [level] PID#0: *CONNECTION ". nginx's number after
// the # is the thread; goroutines have none to show.
func (l *Log) appendHead(dst []byte, h lineHead) []byte {
	dst = h.at.AppendFormat(dst, "2006/01/02 15:04:05")
	dst = append(dst, " ["...)
	dst = append(dst, h.level.String()...)
	dst = append(dst, "] "...)
	dst = strconv.AppendInt(dst, int64(l.pid), 10)
	dst = append(dst, "#0: "...)
	if h.rec != nil && h.rec.Connection != 0 {
		dst = append(dst, '*')
		dst = strconv.AppendUint(dst, h.rec.Connection, 10)
		dst = append(dst, ' ')
	}
	return dst
}

// appendMessage appends s without trailing line feeds, cut at maxMessage, with
// line feeds and tabs kept (tracebacks have them) and other controls as \xHH.
func appendMessage[T []byte | string](dst []byte, s T) []byte {
	cut := len(s) > maxMessage
	if cut {
		s = s[:maxMessage]
	}
	for len(s) > 0 && s[len(s)-1] == '\n' {
		s = s[:len(s)-1]
	}
	start := 0
	for i := range len(s) {
		b := s[i]
		if b >= ' ' && b != 0x7f || b == '\n' || b == '\t' {
			continue
		}
		dst = append(dst, s[start:i]...)
		dst = append(dst, '\\', 'x', hexDigits[b>>4], hexDigits[b&0xf])
		start = i + 1
	}
	dst = append(dst, s[start:]...)
	if cut {
		dst = append(dst, "..."...)
	}
	return dst
}

// appendExchange appends what nginx's error log says about a request.
func appendExchange(dst []byte, rec *Record) []byte {
	if rec.Client.IsValid() {
		dst = append(dst, ", client: "...)
		dst = appendAddr(dst, rec.Client)
	}
	if rec.Listener != "" {
		dst = append(dst, ", server: "...)
		dst = append(dst, rec.Listener...)
	}
	if len(rec.Method) > 0 {
		dst = append(dst, `, request: "`...)
		dst = appendRequestLine(dst, rec)
		dst = append(dst, '"')
	}
	if len(rec.Subrequest) > 0 {
		dst = append(dst, `, subrequest: "`...)
		dst = appendHexEscaped(dst, rec.Subrequest)
		dst = append(dst, '"')
	}
	if a := rec.Last(); a != nil {
		dst = append(dst, `, upstream: "`...)
		dst = appendHexEscaped(dst, a.Endpoint)
		dst = append(dst, '"')
	}
	if len(rec.Host) > 0 {
		dst = append(dst, `, host: "`...)
		dst = appendHexEscaped(dst, rec.Host)
		dst = append(dst, '"')
	}
	if rec.ErrorID != "" {
		dst = append(dst, ", error_id: "...)
		dst = appendHexEscaped(dst, rec.ErrorID)
	}
	if rec.Traced() {
		dst = append(dst, ", trace_id: "...)
		dst = hex.AppendEncode(dst, rec.TraceID[:])
	}
	return dst
}

// slogHandler writes slog records as lines of the process log.
type slogHandler struct {
	log    *Log
	prefix string // of groups, "a.b."
	attrs  []byte // of WithAttrs, formatted
}

// Enabled implements slog.Handler.
func (h *slogHandler) Enabled(_ context.Context, level slog.Level) bool {
	return h.log.Enabled(fromSlog(level))
}

// Handle implements slog.Handler.
func (h *slogHandler) Handle(_ context.Context, r slog.Record) error {
	level := fromSlog(r.Level)
	if !h.log.Enabled(level) {
		return nil
	}
	c, p := h.log.reserve()
	if c == nil {
		return nil
	}
	defer h.log.commit(c, p)
	at := r.Time
	if at.IsZero() {
		at = time.Now()
	}
	dst := h.log.appendHead(c.buf, lineHead{at: at, level: level})
	dst = appendMessage(dst, r.Message)
	dst = append(dst, h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		dst = appendAttr(dst, h.prefix, a)
		return true
	})
	if tap := h.log.tap.Load(); tap != nil {
		(*tap)(level, dst)
	}
	c.buf = append(dst, '\n')
	return nil
}

// WithAttrs implements slog.Handler.
func (h *slogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := &slogHandler{log: h.log, prefix: h.prefix, attrs: slices.Clone(h.attrs)}
	for _, a := range attrs {
		out.attrs = appendAttr(out.attrs, h.prefix, a)
	}
	return out
}

// WithGroup implements slog.Handler.
func (h *slogHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &slogHandler{log: h.log, prefix: h.prefix + name + ".", attrs: h.attrs}
}

// appendAttr appends ", key: value". A value with spaces, commas or anything
// that does not print is quoted, so that it cannot pass for another attribute.
func appendAttr(dst []byte, prefix string, a slog.Attr) []byte {
	v := a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return dst
	}
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range v.Group() {
			dst = appendAttr(dst, prefix, inner)
		}
		return dst
	}
	dst = append(dst, ", "...)
	dst = append(dst, prefix...)
	dst = append(dst, a.Key...)
	dst = append(dst, ": "...)
	text := v.String()
	if text == "" || strings.ContainsFunc(text, needsQuotes) {
		return strconv.AppendQuote(dst, text)
	}
	return append(dst, text...)
}

func needsQuotes(r rune) bool {
	return r <= ' ' || r == ',' || r == '"' || r == '\\' || r == 0x7f || !strconv.IsPrint(r)
}
