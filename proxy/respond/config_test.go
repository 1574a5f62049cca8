package respond

import (
	"testing"

	"perigee/proxy/unit"
)

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(c *Config)
		want   string // path of the one problem
	}{
		{"defaults", func(*Config) {}, ""},
		{"lowest status", func(c *Config) { c.Status = 200 }, ""},
		{"highest status", func(c *Config) { c.Status = 599 }, ""},
		{"interim status", func(c *Config) { c.Status = 101 }, "status"},
		{"no status at all", func(c *Config) { c.Status = 600 }, "status"},
		{"body where none may be", func(c *Config) { c.Status, c.Body = 304, unit.MustTemplate("x") }, "body"},
		{"no body where none may be", func(c *Config) { c.Status = 204 }, ""},
		{"header name", func(c *Config) { c.Headers = map[string]unit.Template{"a b": unit.MustTemplate("x")} }, `headers["a b"]`},
		{"header value", func(c *Config) { c.Headers = map[string]unit.Template{"A": unit.MustTemplate("\r")} }, "headers.A"},
		{"content type", func(c *Config) { c.ContentType = unit.MustTemplate("a\nb") }, "content_type"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c Config
			c.SetDefaults()
			test.change(&c)
			problems := c.Check()
			switch {
			case test.want == "" && len(problems) > 0:
				t.Errorf("%+v", problems)
			case test.want != "" && (len(problems) != 1 || problems[0].Path != test.want):
				t.Errorf("%+v, want one at %s", problems, test.want)
			}
		})
	}
}
