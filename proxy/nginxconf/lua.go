package nginxconf

import (
	"fmt"
	"strconv"
	"strings"
)

// lua is a script: a text, or a file relative to prefix. name is its chunk's
// name, where it matters.
type lua struct{ text, file, name string }

// luaStage maps a directive to a key of a route's lua block. The quoted form,
// the block and the file differ only in where the text is.
func luaStage(name string) (string, bool) {
	name = strings.TrimSuffix(strings.TrimSuffix(name, "_block"), "_file")
	stage, found := strings.CutSuffix(name, "_by_lua")
	if !found {
		return "", false
	}
	switch stage {
	case "server_rewrite", "rewrite", "access", "content", "header_filter", "body_filter", "log":
		return stage, true
	}
	return "", false
}

// script reads a script that requests run.
func (m *importer) script(d *directive, stage string) *lua {
	script := m.source(d)
	if script == nil {
		return nil
	}
	m.broken(d, script, answered)
	if catches.MatchString(script.text) {
		script.name = fmt.Sprintf("%s_by_lua(%s:%d)", stage, d.file, d.line)
	}
	return script
}

// options are settings of scripts, by directive.
var options = map[string]string{
	"lua_check_client_abort":                        "check_client_abort",
	"lua_http10_buffering":                          "http10_buffering",
	"lua_transform_underscores_in_response_headers": "transform_underscores",
}

// optionDefaults are their values where nothing is said.
var optionDefaults = map[string]string{
	"check_client_abort": "false", "http10_buffering": "true", "transform_underscores": "true",
}

// option notes a setting of scripts.
func (s *scope) option(d *directive) {
	key := options[d.name]
	value := "true"
	if d.arg(0) == "off" {
		value = "false"
	}
	s.options = replace(s.options, pair{key, value})
}

// source reads the script of d; nil when it cannot be carried over.
func (m *importer) source(d *directive) *lua {
	switch {
	case strings.HasSuffix(d.name, "_block"):
		return notEmpty(d.lua)
	case len(d.args) != 1:
		m.leave(d, "one argument is wanted, not %d", len(d.args))
		return nil
	case !strings.HasSuffix(d.name, "_file"):
		return notEmpty(d.args[0])
	case strings.Contains(d.args[0], "$"):
		return &lua{text: `return require "perigee.file" (` + luaText(d.args[0]) + ")"}
	}
	return &lua{file: escape(d.args[0])}
}

// notEmpty is the script of a text; one of nothing but blanks becomes a
// comment, since a script without text is refused.
func notEmpty(text string) *lua {
	if strings.TrimSpace(text) == "" {
		return &lua{text: "-- empty"}
	}
	return &lua{text: text}
}

// prelude reads the request's body in front of a route's first script, as nginx
// does where lua_need_request_body is on. The text stands in front of the
// rewrite script's first line, so that the numbers of lines stay.
func (m *importer) prelude(r *route, inherited scope) {
	var assign strings.Builder
	if inherited.readBody && (r.lua["rewrite"] != nil || r.lua["access"] != nil || r.lua["content"] != nil) {
		assign.WriteString("ngx.req.read_body(); ")
	}
	if assign.Len() == 0 || answers(r.steps) || r.respond != nil {
		return
	}
	script := r.lua["rewrite"]
	switch {
	case script == nil:
		r.lua["rewrite"] = &lua{text: strings.TrimSuffix(assign.String(), "; ")}
	case script.file != "":
		r.lua["rewrite"] = &lua{text: fmt.Sprintf("%sreturn dofile(%s)", assign.String(), strconv.Quote(script.file))}
	default:
		r.lua["rewrite"] = &lua{text: assign.String() + script.text, name: script.name}
	}
}

// luaText writes an nginx text with variables as a Lua expression.
func luaText(text string) string {
	var parts []string
	for text != "" {
		literal, rest, found := strings.Cut(text, "$")
		if literal != "" {
			parts = append(parts, luaQuote(literal))
		}
		if !found {
			break
		}
		name := rest
		if braced, after, closed := strings.Cut(strings.TrimPrefix(rest, "{"), "}"); closed && rest[0] == '{' {
			name, text = braced, after
		} else {
			n := 0
			for n < len(rest) && nameByte(rest[n]) {
				n++
			}
			name, text = rest[:n], rest[n:]
		}
		key := "." + name
		if name == "" || name[0] >= '0' && name[0] <= '9' {
			key = "[" + luaQuote(name) + "]"
		}
		parts = append(parts, `(ngx.var`+key+` or "")`)
	}
	if len(parts) == 0 {
		return `""`
	}
	return strings.Join(parts, " .. ")
}

// luaQuote writes a literal; bytes outside printable ASCII as \ddd, which all
// Lua versions read.
func luaQuote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\%03d`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
