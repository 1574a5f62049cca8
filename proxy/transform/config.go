// Package transform edits the heads of requests and responses without a script.
package transform

import (
	"fmt"

	"perigee/proxy/unit"
)

// Config is a route's transform block: header edits that need no script.
type Config struct {
	// Request edits the head sent to the upstream, in the rewrite stage: scripts
	// see the result. nginx: proxy_set_header.
	Request Headers `yaml:"request,omitempty"`
	// Response edits the head sent to the client, after header_filter scripts.
	// nginx: add_header ... always, proxy_hide_header.
	Response Headers `yaml:"response,omitempty"`
	// Charset is added to the Content-Type of texts, scripts and feeds sent to
	// the client that name none: utf-8. Default none. nginx: charset.
	Charset string `yaml:"charset,omitempty"`
}

// Headers are edits of one head, made in this order: remove, set, add. Within
// set and add the order is that of the names' bytes.
type Headers struct {
	// Remove takes out all fields of these names.
	Remove []string `yaml:"remove,omitempty"`
	// Set replaces all fields of a name by one, variables evaluated; an empty
	// result removes the field, as nginx's proxy_set_header does.
	Set map[string]unit.Template `yaml:"set,omitempty"`
	// Add appends a field and leaves those that are there, variables evaluated;
	// an empty result adds nothing.
	Add map[string]unit.Template `yaml:"add,omitempty"`
}

// IsZero says that there is nothing to edit.
func (h Headers) IsZero() bool { return len(h.Remove)+len(h.Set)+len(h.Add) == 0 }

// framing are the fields that say where a message ends. perigee writes them
// itself: an edit could make the two sides read different messages.
var framing = []string{"Connection", "Content-Length", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade"}

// Check reports edits that would break a message.
func (c *Config) Check() []unit.Problem {
	problems := append(c.Request.check("request"), c.Response.check("response")...)
	if c.Charset != "" && !unit.IsToken(c.Charset) {
		problems = append(problems, unit.Problem{
			Path: "charset", Message: fmt.Sprintf("charset %q is not one word", c.Charset), Hint: "write a name such as utf-8",
		})
	}
	return problems
}

func (h Headers) check(path string) []unit.Problem {
	var problems []unit.Problem
	reserved := func(path, name string) {
		for _, field := range framing {
			if unit.EqualHeader(name, field) {
				problems = append(problems, unit.Problem{
					Path: path, Message: fmt.Sprintf("header %q says where a message ends and cannot be edited", name),
					Hint: "remove the edit: perigee writes this header itself",
				})
			}
		}
	}
	for i, name := range h.Remove {
		at := fmt.Sprintf("%s.remove[%d]", path, i)
		problems = append(problems, unit.CheckHeaderName(at, name)...)
		reserved(at, name)
	}
	for _, edits := range [...]struct {
		key    string
		values map[string]unit.Template
	}{{"set", h.Set}, {"add", h.Add}} {
		problems = append(problems, unit.CheckHeaders(path+"."+edits.key, edits.values)...)
		for name := range edits.values {
			reserved(unit.Join(path+"."+edits.key, name), name)
		}
	}
	return problems
}
