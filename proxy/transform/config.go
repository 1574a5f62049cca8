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
	// nginx: add_header.
	Response ResponseHeaders `yaml:"response,omitempty"`
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
	// Add appends a field, or several of a list of values, and leaves those that
	// are there, variables evaluated; an empty result adds nothing.
	Add map[string]unit.Texts `yaml:"add,omitempty"`
}

// IsZero says that there is nothing to edit.
func (h Headers) IsZero() bool { return len(h.Remove)+len(h.Set)+len(h.Add) == 0 }

// ResponseHeaders are edits of an answer's head, made in this order: remove, set,
// add, add_on_success. Within each the order is that of the names' bytes.
type ResponseHeaders struct {
	// Remove takes out all fields of these names.
	Remove []string `yaml:"remove,omitempty"`
	// Set replaces all fields of a name by one, variables evaluated; an empty
	// result removes the field.
	Set map[string]unit.Template `yaml:"set,omitempty"`
	// Add appends a field, or several of a list of values, and leaves those that
	// are there, variables evaluated; an empty result adds nothing. nginx:
	// add_header ... always.
	Add map[string]unit.Texts `yaml:"add,omitempty"`
	// AddOnSuccess does so for answers of status 200, 201, 204, 206, 301, 302,
	// 303, 304, 307 and 308 alone. nginx: add_header.
	AddOnSuccess map[string]unit.Texts `yaml:"add_on_success,omitempty"`
}

// IsZero says that there is nothing to edit.
func (h ResponseHeaders) IsZero() bool { return h.always().IsZero() && len(h.AddOnSuccess) == 0 }

// always are the edits made whatever the status is.
func (h ResponseHeaders) always() Headers { return Headers{h.Remove, h.Set, h.Add} }

// framing are the fields that say where a message ends. perigee writes them
// itself: an edit could make the two sides read different messages.
var framing = []string{"Connection", "Content-Length", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade"}

// Check reports edits that would break a message.
func (c *Config) Check() []unit.Problem {
	problems := append(c.Request.check("request"), c.Response.always().check("response")...)
	problems = append(problems, checkAdded("response.add_on_success", c.Response.AddOnSuccess)...)
	if c.Charset != "" && !unit.IsToken(c.Charset) {
		problems = append(problems, unit.Problem{
			Path: "charset", Message: fmt.Sprintf("charset %q is not one word", c.Charset), Hint: "write a name such as utf-8",
		})
	}
	return problems
}

func (h Headers) check(path string) []unit.Problem {
	var problems []unit.Problem
	for i, name := range h.Remove {
		at := fmt.Sprintf("%s.remove[%d]", path, i)
		problems = append(problems, unit.CheckHeaderName(at, name)...)
		problems = append(problems, reserved(at, name)...)
	}
	problems = append(problems, unit.CheckHeaders(path+".set", h.Set)...)
	for name := range h.Set {
		problems = append(problems, reserved(unit.Join(path+".set", name), name)...)
	}
	return append(problems, checkAdded(path+".add", h.Add)...)
}

func checkAdded(path string, fields map[string]unit.Texts) []unit.Problem {
	problems := unit.CheckHeaderLists(path, fields)
	for name := range fields {
		problems = append(problems, reserved(unit.Join(path, name), name)...)
	}
	return problems
}

// reserved reports a name of framing.
func reserved(path, name string) []unit.Problem {
	for _, field := range framing {
		if unit.EqualHeader(name, field) {
			return []unit.Problem{{
				Path: path, Message: fmt.Sprintf("header %q says where a message ends and cannot be edited", name),
				Hint: "remove the edit: perigee writes this header itself",
			}}
		}
	}
	return nil
}
