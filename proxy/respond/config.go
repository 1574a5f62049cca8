// Package respond answers requests from the configuration alone, without an
// upstream.
package respond

import (
	"fmt"

	"perigee/proxy/unit"
)

// Config is a route's respond block: an answer given without any upstream
// (nginx: return).
type Config struct {
	// Status is the response code, 200 to 599. Default 200. 444 closes the
	// connection without a word, as in nginx.
	Status int `yaml:"status"`
	// ContentType is the Content-Type header. Default: default_type of the route;
	// not sent when the body is empty.
	ContentType unit.Template `yaml:"content_type,omitempty"`
	// Headers are further response headers, variables evaluated: {Location:
	// "/login"}. nginx: add_header ... always.
	Headers map[string]unit.Template `yaml:"headers,omitempty"`
	// Body is the response body, variables evaluated. Without one a status of 300
	// or more gets its error page, or else a line that names it. A status that
	// has no body (204, 304) refuses one.
	Body unit.Template `yaml:"body,omitempty"`
}

// SetDefaults gives every field that has one its default; the loader calls it
// before it reads the configuration's keys.
func (c *Config) SetDefaults() {
	c.Status = 200
}

// Check reports answers that HTTP does not have.
func (c *Config) Check() []unit.Problem {
	var problems []unit.Problem
	report := func(path, message, hint string) {
		problems = append(problems, unit.Problem{Path: path, Message: message, Hint: hint})
	}
	if c.Status < 200 || c.Status > 599 {
		report("status", fmt.Sprintf("status %d is no final response code", c.Status), "write 200 to 599")
	}
	if (c.Status == 204 || c.Status == 304) && !c.Body.IsZero() {
		report("body", fmt.Sprintf("a response with status %d has no body", c.Status), "remove the body or change the status")
	}
	return append(append(problems,
		unit.CheckHeaders("headers", c.Headers)...),
		unit.CheckHeaderValue("content_type", c.ContentType)...)
}
