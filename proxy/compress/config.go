// Package compress makes answers shorter on their way to clients that can read
// them so: gzip, as the answer streams.
package compress

import (
	"fmt"
	"strings"

	"perigee/proxy/unit"
)

// Config is a route's compress block: answers are compressed with gzip for
// clients whose Accept-Encoding allows it. Compressed are the statuses 200, 403
// and 404, unless the answer is encoded already or its Cache-Control says
// no-transform. Each answer under way needs up to 1MiB of memory. nginx: gzip.
type Config struct {
	// Types are the media types that are compressed; "*" means all. Default
	// text/html, text/css, text/plain, text/xml, text/javascript,
	// application/javascript, application/json, application/xml,
	// application/wasm and image/svg+xml. nginx: gzip_types, which always has
	// text/html.
	Types []string `yaml:"types,omitempty"`
	// MinLength is the length from which answers are compressed; those that do
	// not say theirs are, too. Default 256B. nginx: gzip_min_length.
	MinLength unit.Size `yaml:"min_length"`
	// Level is 1 (fastest) to 9 (smallest). Default 5. nginx: gzip_comp_level.
	Level int `yaml:"level"`
	// Vary adds "Vary: Accept-Encoding" to answers that other clients get, or
	// would get, compressed: caches need it. Default true. nginx: gzip_vary.
	Vary bool `yaml:"vary"`
	// Proxied says what is compressed for requests that other proxies sent on,
	// which tell by a Via header: any (default), off, or any of expired,
	// no-cache, no-store, private (what the answer's caching headers say),
	// no_last_modified, no_etag (it lacks that header), auth (the request has an
	// Authorization header). nginx: gzip_proxied.
	Proxied []Proxied `yaml:"proxied,omitempty"`
}

// Proxied is a condition under which answers to other proxies are compressed.
type Proxied string

// The conditions; see Config.Proxied.
const (
	ProxiedAny            Proxied = "any"
	ProxiedOff            Proxied = "off"
	ProxiedExpired        Proxied = "expired"
	ProxiedNoCache        Proxied = "no-cache"
	ProxiedNoStore        Proxied = "no-store"
	ProxiedPrivate        Proxied = "private"
	ProxiedNoLastModified Proxied = "no_last_modified"
	ProxiedNoETag         Proxied = "no_etag"
	ProxiedAuth           Proxied = "auth"
)

// Values are the words that are accepted.
func (Proxied) Values() []string {
	return []string{
		string(ProxiedAny), string(ProxiedOff), string(ProxiedExpired), string(ProxiedNoCache), string(ProxiedNoStore),
		string(ProxiedPrivate), string(ProxiedNoLastModified), string(ProxiedNoETag), string(ProxiedAuth),
	}
}

// SetDefaults gives every field that has one its default; the loader calls it
// before it reads the configuration's keys.
func (c *Config) SetDefaults() {
	c.Types = []string{
		"text/html", "text/css", "text/plain", "text/xml", "text/javascript", "application/javascript",
		"application/json", "application/xml", "application/wasm", "image/svg+xml",
	}
	c.MinLength, c.Level, c.Vary, c.Proxied = 256, 5, true, []Proxied{ProxiedAny}
}

// Check reports settings that cannot be followed.
func (c *Config) Check() []unit.Problem {
	var problems []unit.Problem
	report := func(path, message, hint string) {
		problems = append(problems, unit.Problem{Path: path, Message: message, Hint: hint})
	}
	if len(c.Types) == 0 {
		report("types", "no type is compressed", `write types such as text/html, or "*" for all`)
	}
	for i, t := range c.Types {
		major, minor, found := strings.Cut(t, "/")
		if t != "*" && !(found && unit.IsToken(major) && unit.IsToken(minor)) {
			report(fmt.Sprintf("types[%d]", i), fmt.Sprintf("%q is no media type", t), `write one such as text/css, without parameters, or "*" for all`)
		}
	}
	if c.Level < 1 || c.Level > 9 {
		report("level", fmt.Sprintf("level %d is not between 1 and 9", c.Level), "write 1 for speed, 9 for size; 5 suits most sites")
	}
	for i, p := range c.Proxied {
		if len(c.Proxied) > 1 && (p == ProxiedAny || p == ProxiedOff) {
			report(fmt.Sprintf("proxied[%d]", i), fmt.Sprintf("%q leaves nothing to the other conditions", string(p)), "write it alone")
		}
	}
	return problems
}
