package config

import (
	"perigee/proxy/exchange"
	"perigee/proxy/unit"
)

// AccessLog is the access_log block.
type AccessLog struct {
	// Format is json (default), text (nginx's combined) or off.
	Format AccessLogFormat `yaml:"format"`
	// Template is the line, variables evaluated, instead of format. nginx:
	// log_format.
	Template unit.Template `yaml:"template,omitempty"`
	// Escape is how values stand in template: default (as nginx: what is not
	// printable ASCII as \xHH, nothing as "-"), json (inside of a JSON string) or
	// none.
	Escape LogEscape `yaml:"escape,omitempty"`
	// If is a condition: lines are written where it holds, such as $loggable of
	// a map. nginx: access_log ... if=.
	If unit.Condition `yaml:"if,omitempty"`
	// File is a path relative to prefix, or "-" for standard output (default).
	File string `yaml:"file" config:"path"`
}

// SetDefaults sets JSON on standard output.
func (a *AccessLog) SetDefaults() { a.Format, a.File = AccessLogJSON, "-" }

// AccessLogFormat names the shape of an access line.
type AccessLogFormat string

// The formats.
const (
	AccessLogJSON AccessLogFormat = "json"
	AccessLogText AccessLogFormat = "text"
	AccessLogOff  AccessLogFormat = "off"
)

// Values are the words that are accepted.
func (AccessLogFormat) Values() []string {
	return []string{string(AccessLogJSON), string(AccessLogText), string(AccessLogOff)}
}

// LogEscape names how values stand in a line.
type LogEscape string

// Values are the words that are accepted.
func (LogEscape) Values() []string { return []string{"default", "json", "none"} }

// Escape is the word as exchanges know it.
func (e LogEscape) Escape() exchange.Escape {
	switch e {
	case "json":
		return exchange.EscapeJSON
	case "none":
		return exchange.EscapeNone
	}
	return exchange.EscapeDefault
}
