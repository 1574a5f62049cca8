package compress

import (
	"slices"
	"testing"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*Config)
		want []string
	}{
		{"the default", func(*Config) {}, nil},
		{"no types", func(c *Config) { c.Types = nil }, []string{"types"}},
		{"all types", func(c *Config) { c.Types = []string{"*"} }, nil},
		{"no type", func(c *Config) { c.Types = []string{"text/css", "text", "text/a b", "text/css; charset=x"} }, []string{"types[1]", "types[2]", "types[3]"}},
		{"levels", func(c *Config) { c.Level = 0 }, []string{"level"}},
		{"proxied", func(c *Config) { c.Proxied = []Proxied{"auth", "off"} }, []string{"proxied[1]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var config Config
			config.SetDefaults()
			c.edit(&config)
			var got []string
			for _, p := range config.Check() {
				got = append(got, p.Path)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// A coder that was given back keeps nothing of its last answer.
func TestCodersAreUsedAgain(t *testing.T) {
	for range 3 {
		c := newCoder(5)
		first := len(c.code([]byte("some text"), pause))
		if first == 0 || len(c.code(nil, pause)) != 0 {
			t.Error("a flush of something gives something, one of nothing gives nothing")
		}
		if last := c.code(nil, end); len(last) == 0 || c.code([]byte("x"), end) != nil {
			t.Error("behind the end comes nothing")
		}
		c.Release()
	}
}
