package config

import (
	"fmt"
	"regexp"
	"slices"

	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/trace"
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
	// Syslog sends lines to a syslog receiver, in the place of file. nginx:
	// access_log syslog:server=...
	Syslog *Syslog `yaml:"syslog,omitempty"`
	// OTLP sends lines as log records to an OpenTelemetry collector, in the place of
	// file. A JSON line's members are attributes of its record.
	OTLP *trace.LogConfig `yaml:"otlp,omitempty"`
}

// Syslog is a syslog block: lines are messages of RFC 5424.
type Syslog struct {
	// Address is udp://host:port, tcp://host:port or unix:///dev/log.
	Address string `yaml:"address" config:"short"`
	// Facility is one of syslog's. Default local7.
	Facility Facility `yaml:"facility"`
	// Severity is that of every line. Default info.
	Severity Severity `yaml:"severity"`
	// Tag is the application's name in messages. Default perigee.
	Tag string `yaml:"tag"`
}

// SetDefaults sets nginx's, but for the tag.
func (s *Syslog) SetDefaults() { s.Facility, s.Severity, s.Tag = "local7", "info", "perigee" }

// Options is the block as package observe takes it.
func (s *Syslog) Options() observe.SyslogOptions {
	priority := slices.Index(s.Facility.Values(), string(s.Facility))*8 + slices.Index(s.Severity.Values(), string(s.Severity))
	return observe.SyslogOptions{Address: s.Address, Priority: priority, Tag: s.Tag}
}

// Facility names a facility of syslog.
type Facility string

// Values are the names in the order of their numbers (RFC 5424 §6.2.1).
func (Facility) Values() []string {
	return []string{"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
		"ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"}
}

// Severity names a severity of syslog.
type Severity string

// Values are the names in the order of their numbers (RFC 5424 §6.2.1).
func (Severity) Values() []string {
	return []string{"emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"}
}

// accessLog checks where the lines of a block go.
func (c *checker) accessLog(path string, a *AccessLog) {
	if a == nil {
		return
	}
	switch {
	case a.Syslog != nil && a.OTLP != nil:
		c.report(path+".otlp", "lines go to one place, and syslog is one already", "keep syslog or otlp")
	case a.File != "-" && (a.Syslog != nil || a.OTLP != nil):
		c.report(path+".file", "lines go to one place, and syslog or otlp is one already", "keep one of them")
	}
	if s := a.Syslog; s != nil {
		if _, _, err := observe.SyslogTarget(s.Address); err != nil {
			c.report(path+".syslog.address", err.Error(), "write udp://127.0.0.1:514")
		}
		if !tagPattern.MatchString(s.Tag) {
			c.report(path+".syslog.tag", fmt.Sprintf("tag %q is not 1 to 48 printable characters without spaces", s.Tag), "write perigee")
		}
	}
	if a.OTLP != nil {
		c.problems(path+".otlp", a.OTLP.Check())
	}
}

var tagPattern = regexp.MustCompile(`^[!-~]{1,48}$`)

// Redact is the redact block: what the access log, the process log and traces do
// not show.
type Redact struct {
	// Credentials shows the values of fields such as Authorization, Cookie, Set-Cookie
	// and X-Api-Key, of query arguments such as token, api_key, access_token and
	// password, of what auth blocks look at, and of names, as ***. Default true.
	Credentials bool `yaml:"credentials"`
	// Names are more fields, query arguments and cookies that are credentials, in any
	// case.
	Names []string `yaml:"names,omitempty"`
}

// SetDefaults hides credentials.
func (r *Redact) SetDefaults() { r.Credentials = true }

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
