package nginxconf

import (
	"fmt"
	"strconv"
	"strings"

	"perigee/proxy/unit"
)

// limits carries over what perigee has once for all routes, and lists the rest.
func (m *importer) limits(d *directive) {
	o := &m.out
	switch d.name {
	case "keepalive_timeout":
		m.clientTimeout(d, "idle_timeout")
	case "keepalive_requests":
		if n, err := strconv.ParseUint(d.arg(0), 10, 31); err != nil {
			m.leave(d, "%q is no number", d.arg(0))
		} else {
			m.clientLimit(d, "keepalive_requests", strconv.FormatUint(n, 10))
		}
	case "client_header_timeout":
		m.clientTimeout(d, "header_timeout")
	case "client_body_timeout":
		m.clientTimeout(d, "body_timeout")
	case "send_timeout":
		m.clientTimeout(d, "send_timeout")
	case "large_client_header_buffers":
		m.headerBytes(d)
	case "lua_code_cache":
		if d.arg(0) == "off" {
			o.fresh = true
		}
	case "if", "rewrite":
		m.leave(d, "has no equivalent yet")
	default:
		if !meaningless(d.name) && !tlsDirective(d.name) {
			m.leave(d, "has no equivalent yet")
		}
	}
}

// timers carries a number over to lua.timers.
func (m *importer) timers(d *directive, key string) {
	n, err := strconv.ParseUint(d.arg(0), 10, 31)
	if err != nil {
		m.leave(d, "%q is no number for lua.timers.%s", d.arg(0), key)
		return
	}
	m.out.timers = append(m.out.timers, pair{key, strconv.FormatUint(n, 10)})
}

// regex carries a number over to lua.regex.
func (m *importer) regex(d *directive, key string) {
	n, err := strconv.ParseUint(d.arg(0), 10, 31)
	if err != nil {
		m.leave(d, "%q is no number for lua.regex.%s", d.arg(0), key)
		return
	}
	m.out.regex = append(m.out.regex, pair{key, strconv.FormatUint(n, 10)})
}

func (m *importer) clientTimeout(d *directive, key string) {
	text, ok := duration(d.arg(0))
	if !ok || text == "0s" {
		m.leave(d, "%q is no time that can be waited", d.arg(0))
		return
	}
	m.clientLimit(d, key, text)
}

// clientLimit is one of limits: the first value stays.
func (m *importer) clientLimit(d *directive, key, text string) {
	for i, p := range m.out.limits {
		if p.name == key {
			if p.value != text {
				m.leave(d, "limits.%s is one for all routes; %s stays", key, m.out.limits[i].value)
			}
			return
		}
	}
	m.out.limits = append(m.out.limits, pair{key, text})
}

// headerBytes carries number x size over: perigee bounds the head as a whole.
func (m *importer) headerBytes(d *directive) {
	n, err := strconv.Atoi(d.arg(0))
	text, ok := size(d.arg(1))
	if err != nil || !ok {
		m.leave(d, "%q is no number and size", strings.Join(d.args, " "))
		return
	}
	each, err := unit.ParseSize(text)
	total := each * unit.Size(n)
	switch {
	case err != nil || n < 1 || n > 1024 || total < unit.KiB:
		m.leave(d, "%q is too little for a request head", strings.Join(d.args, " "))
		return
	case total > unit.MiB:
		m.leave(d, "a request head has at most 1MiB")
		total = unit.MiB
	}
	m.out.headerBytes = total.String()
}

// size writes nginx's size (a number of bytes, k, m or g) in perigee's words.
func size(text string) (string, bool) {
	if text == "" {
		return "", false
	}
	digits, suffix := text, ""
	switch text[len(text)-1] {
	case 'k', 'K':
		suffix = "KiB"
	case 'm', 'M':
		suffix = "MiB"
	case 'g', 'G':
		suffix = "GiB"
	}
	if suffix != "" {
		digits = text[:len(text)-1]
	}
	n, err := strconv.ParseUint(digits, 10, 40)
	if err != nil {
		return "", false
	}
	if n == 0 {
		return "0", true
	}
	return fmt.Sprintf("%d%s", n, suffix), true
}

// duration writes a time of nginx (seconds when it has no unit).
func duration(text string) (string, bool) {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return fmt.Sprintf("%ds", n), true
	}
	d, err := unit.ParseDuration(text)
	if err != nil || d < 0 {
		return "", false
	}
	return d.String(), true
}

// template writes an nginx text with variables as a perigee text: names in
// small letters, which is all the same to nginx; braces around a name become
// parentheses where letters follow, and go elsewhere.
func template(text string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '$' {
			b.WriteByte(text[i])
			continue
		}
		rest := text[i+1:]
		if !strings.HasPrefix(rest, "{") {
			if rest == "" || !nameByte(rest[0]) {
				b.WriteByte('$')
			}
			b.WriteByte('$')
			for ; i+1 < len(text) && nameByte(text[i+1]); i++ {
				b.WriteString(strings.ToLower(text[i+1 : i+2]))
			}
			continue
		}
		name, after, closed := strings.Cut(rest[1:], "}")
		if !closed || name == "" {
			return "", fmt.Errorf("text %q has a ${ that is not closed", text)
		}
		i += len(name) + len("{}")
		if name = strings.ToLower(name); after != "" && nameByte(after[0]) {
			name = "(" + name + ")"
		}
		b.WriteString("$" + name)
	}
	return b.String(), nil
}

func nameByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// escape keeps the loader from expanding a text that has no variables.
func escape(text string) string { return strings.ReplaceAll(text, "$", "$$") }

// escapeBraces does so only where the loader would see something: expressions
// stay readable.
func escapeBraces(text string) string {
	if strings.Contains(text, "${") || strings.Contains(text, "$$") {
		return escape(text)
	}
	return text
}
