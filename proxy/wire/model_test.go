package wire

import (
	"math/big"
	"regexp"
	"strings"
)

// The models below say once more what a head and a chunked body are, with
// regular expressions over whole strings and no thought for speed, so that the
// fuzz tests can hold the scanner against them.

const (
	reToken = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+"
	reHost  = `(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::[0-9]{0,5})?`
)

var (
	modelRequestLine = regexp.MustCompile(`^(` + reToken + `) ([^\x00-\x20\x7f#]*) HTTP/([0-9])\.([0-9])$`)
	modelStatusLine  = regexp.MustCompile(`^HTTP/([0-9])\.([0-9]) ([1-9][0-9][0-9])(?: [^\x00-\x08\x0a-\x1f\x7f]*)?$`)
	modelField       = regexp.MustCompile(`^(` + reToken + `):[ \t]*((?:[^\x00-\x08\x0a-\x20\x7f\t](?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x08\x0a-\x20\x7f\t])?)?)[ \t]*$`)
	modelAbsolute    = regexp.MustCompile(`^(?i:https?://)([^/?]*)(.*)$`)
	modelHost        = regexp.MustCompile(`^` + reHost + `$`)
	modelDigits      = regexp.MustCompile(`^[0-9]+$`)
	modelChunkLine   = regexp.MustCompile(`^([0-9A-Fa-f]{1,16})((?:[ \t]*;[ \t]*` + reToken +
		`(?:[ \t]*=[ \t]*(?:` + reToken + `|"(?:[^\x00-\x08\x0a-\x1f\x7f"\\]|\\[^\x00-\x08\x0a-\x1f\x7f])*"))?)*)$`)
)

// modelHead is what the model makes of a request head. status is 0 when the
// head is good, -1 when it is not complete.
type modelHead struct {
	status        int
	size          int
	method, path  string
	target, host  string
	names, values []string
	length        int64
	chunked       bool
	close         bool
	old           bool
}

// modelLine cuts the line at pos off raw. status is -1 when its end has not come,
// 400 or 431 when it is broken or too far.
func modelLine(raw string, pos, limit int) (line string, next, status int) {
	lf := strings.IndexByte(raw[pos:], '\n')
	if lf < 0 && len(raw) < limit {
		return "", pos, -1
	}
	if lf < 0 || pos+lf >= limit {
		return "", pos, 431
	}
	line = raw[pos : pos+lf]
	if !strings.HasSuffix(line, "\r") {
		return "", pos, 400
	}
	return strings.TrimSuffix(line, "\r"), pos + lf + 1, 0
}

func modelScanRequest(raw string, lim Limits) (m modelHead) {
	fail := func(status int) modelHead { return modelHead{status: status} }
	pos := 0
	var line string
	for empty := 0; ; empty++ {
		if pos < len(raw) && !strings.ContainsAny(raw[pos:pos+1], "\r\n") && !IsToken([]byte(raw[pos:pos+1])) {
			return fail(400)
		}
		var status int
		line, pos, status = modelLine(raw, pos, min(lim.HeaderBytes, pos+lim.LineBytes+2))
		switch {
		case status == 431:
			return fail(414)
		case status != 0:
			return fail(status)
		}
		if line != "" {
			break
		}
		if empty == 4 {
			return fail(400)
		}
	}
	parts := modelRequestLine.FindStringSubmatch(line)
	if parts == nil {
		return fail(400)
	}
	m.method, m.target, m.path = parts[1], parts[2], parts[2]
	if v := parts[3] + "." + parts[4]; v != "1.0" && v != "1.1" {
		return fail(505)
	}
	m.old = parts[4] == "0"
	absolute := modelAbsolute.FindStringSubmatch(m.target)
	switch {
	case m.method == "CONNECT":
		return fail(501)
	case strings.HasPrefix(m.target, "/"), m.target == "*" && m.method == "OPTIONS":
		absolute = nil
	case absolute == nil || !modelValidHost(absolute[1]):
		return fail(400)
	default:
		m.host, m.path = absolute[1], absolute[2]
	}
	if status := m.readFields(raw, pos, lim); status != 0 {
		return fail(status)
	}
	m.status = modelJudge(&m, absolute != nil)
	return m
}

// readFields reads the field lines from pos on.
func (m *modelHead) readFields(raw string, pos int, lim Limits) (status int) {
	for {
		line, next, status := modelLine(raw, pos, lim.HeaderBytes)
		if status != 0 {
			return status
		}
		if pos = next; line == "" {
			m.size = pos
			return 0
		}
		if len(m.names) == lim.Fields {
			return 431
		}
		field := modelField.FindStringSubmatch(line)
		if field == nil {
			return 400
		}
		m.names = append(m.names, strings.ToLower(field[1]))
		m.values = append(m.values, field[2])
	}
}

func modelValidHost(s string) bool {
	if !modelHost.MatchString(s) {
		return false
	}
	host, port := s, ""
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host, port = s[:i], s[i+1:]
	}
	if n, ok := new(big.Int).SetString(port, 10); ok && n.Int64() > 65535 {
		return false
	}
	return !strings.HasPrefix(host, "[") || validIPv6([]byte(host[1:len(host)-1]))
}

// modelJudge reads the fields in their order, as the first wrong one decides.
func modelJudge(m *modelHead, absolute bool) (status int) {
	count := map[string]int{}
	for _, name := range m.names {
		count[name]++
	}
	m.length = -1
	var closing, keep bool
	seen := map[string]bool{}
	for i, name := range m.names {
		value := m.values[i]
		switch name {
		case "host":
			if seen[name] || !modelValidHost(value) {
				return 400
			}
			if !absolute {
				m.host = value
			}
		case "content-length":
			n, ok := new(big.Int).SetString(value, 10)
			if seen[name] || count["transfer-encoding"] > 0 || !modelDigits.MatchString(value) || !ok || !n.IsInt64() {
				return 400
			}
			m.length = n.Int64()
		case "transfer-encoding":
			switch {
			case seen[name], count["content-length"] > 0, m.old:
				return 400
			case !strings.EqualFold(value, "chunked") || strings.Contains(value, "\u212a"):
				return modelCodings(value)
			}
			m.chunked = true
		case "connection":
			for _, member := range strings.Split(value, ",") {
				member = strings.ToLower(strings.Trim(member, " \t"))
				if member != "" && !IsToken([]byte(member)) {
					return 400
				}
				closing = closing || member == "close"
				keep = keep || member == "keep-alive"
			}
		case "expect":
			if !strings.EqualFold(value, "100-continue") {
				return 417
			}
		}
		seen[name] = true
	}
	if !m.old && count["host"] == 0 {
		return 400
	}
	m.close = closing || m.old && !keep
	return 0
}

func modelCodings(value string) (status int) {
	var codings []string
	for _, member := range strings.Split(value, ",") {
		if member = strings.Trim(member, " \t"); member != "" {
			codings = append(codings, member)
		}
	}
	for i, coding := range codings {
		// Anywhere but at the end, or alone with stray commas.
		if modelChunked(coding) && (i < len(codings)-1 || i == 0) {
			return 400
		}
	}
	if len(codings) == 0 {
		return 400
	}
	return 501
}

func modelChunked(coding string) bool {
	return len(coding) == len("chunked") && strings.EqualFold(coding, "chunked")
}

// modelChunks decodes a whole chunked body at the start of raw. ok is false
// when it is broken or not complete, which the model does not tell apart.
func modelChunks(raw string) (payload string, used int, ok bool) {
	pos, ext := 0, 0
	for {
		end := strings.Index(raw[pos:], "\r\n")
		if end < 0 {
			return "", 0, false
		}
		line := modelChunkLine.FindStringSubmatch(raw[pos : pos+end])
		if line == nil {
			return "", 0, false
		}
		ext += len(line[2])
		size, _ := new(big.Int).SetString(line[1], 16)
		pos += end + 2
		if !size.IsInt64() || ext > 16<<10 {
			return "", 0, false
		}
		if size.Sign() == 0 {
			break
		}
		if size.Int64() > int64(len(raw)-pos) {
			return "", 0, false
		}
		n := int(size.Int64())
		payload += raw[pos : pos+n]
		pos += n
		if !strings.HasPrefix(raw[pos:], "\r\n") {
			return "", 0, false
		}
		pos += 2
	}
	start := pos
	for fields := 0; ; fields++ {
		line, next, status := modelLine(raw, pos, len(raw)+1)
		if status != 0 {
			return "", 0, false
		}
		if line == "" {
			return payload, next, pos-start <= 16<<10
		}
		field := modelField.FindStringSubmatch(line)
		if field == nil || fields == 100 || modelFraming[strings.ToLower(field[1])] {
			return "", 0, false
		}
		pos = next
	}
}

// modelFraming are the fields that a trailer section must not hold.
var modelFraming = map[string]bool{
	"transfer-encoding": true, "content-length": true, "host": true, "connection": true,
	"te": true, "trailer": true, "upgrade": true, "keep-alive": true,
	"proxy-connection": true, "http2-settings": true, "expect": true,
}
