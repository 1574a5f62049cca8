package respond

import (
	"strings"
	"testing"
	"time"

	"perigee/proxy/exchange"
	"perigee/proxy/unit"
)

func TestStep(t *testing.T) {
	text := unit.MustTemplate
	for _, c := range []struct {
		name, path string
		config     Config
		want       string
	}{
		{"text", "/a", Config{Status: 200, ContentType: text("text/plain"), Body: text("at $uri\n")}, "200|Content-Type: text/plain|at /a\n"},
		{"no body, no type", "/a", Config{Status: 204, ContentType: text("text/plain")}, "204|"},
		{"header", "/a", Config{Status: 302, Headers: map[string]unit.Template{"Location": text("/b$uri"), "X-None": text("$arg_x")}},
			"302|Location: /b/a|"},
		{"decoded line ends stay in their line", "/a\r\nEvil: 1", Config{Status: 302, Headers: map[string]unit.Template{"Location": text("/b$uri")}},
			"302|Location: /b/a  Evil: 1|"},
		{"line ends in the type", "/a\r\nEvil: 1", Config{Status: 200, ContentType: text("$uri"), Body: text("x")}, "200|Content-Type: /a  Evil: 1|x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ex := exchange.Acquire(nil, &exchange.Conn{})
			defer exchange.Release(ex)
			ex.Path = append(ex.Path[:0], c.path...)
			if v := New(c.config).Step(ex, exchange.Content); v != exchange.Respond {
				t.Errorf("verdict %v", v)
			}
			lines := strings.Split(string(ex.Resp.Append(nil, time.Time{})), "\r\n")
			got := lines[0][len("HTTP/1.1 "):][:3] + "|"
			for _, line := range lines[1:] {
				if line != "" && !strings.HasPrefix(line, "Date: ") && !strings.HasPrefix(line, "Content-Length: ") {
					got += line + "|"
				}
			}
			if got += string(ex.Out); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
