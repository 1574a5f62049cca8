package proxy_test

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

// loggedConfig is a configuration with an access_log block and more.
func loggedConfig(block, more string) string {
	return fmt.Sprintf(`
listeners: [{address: "127.0.0.1:0"}]
access_log: %s
%s
routes:
  - {name: r, match: {paths: ["/"]}, respond: {headers: {Set-Cookie: "sid=s3cret"}}}
`, block, more)
}

func TestAccessLogOverSyslog(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	g := proxytest.Start(t, loggedConfig(fmt.Sprintf(`{template: "$status $uri", syslog: {address: "udp://%s", facility: local0, severity: notice, tag: gw}}`, pc.LocalAddr()), ""))
	g.Get("/x")
	buf := make([]byte, 2048)
	_ = pc.SetReadDeadline(time.Now().Add(30 * time.Second))
	n, _, err := pc.ReadFrom(buf)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(buf[:n]); !strings.HasPrefix(text, "<133>1 ") || !strings.HasSuffix(text, " - - 200 /x") || !strings.Contains(text, " gw ") {
		t.Errorf("message %q", text)
	}
	for text, want := range map[string]string{
		`{syslog: "514"}`: "access_log.syslog.address",
		`{syslog: "udp://a:1", otlp: {endpoint: "http://a:1"}}`:       "one place",
		`{file: a, syslog: "udp://a:1"}`:                              "one place",
		`{syslog: {address: "udp://a:1", tag: "a b"}}`:                "access_log.syslog.tag",
		`{syslog: {address: "udp://a:1", facility: local8}}`:          "facility",
		`{otlp: {endpoint: "a:1"}}`:                                   "access_log.otlp.endpoint",
		`{otlp: {endpoint: "http://a:1", headers: {a: b}, queue: 1}}`: "queue",
	} {
		if _, err := g.Parse(loggedConfig(text, "")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want something about %q", text, err, want)
		}
	}
}

func TestAccessLogOverOTLP(t *testing.T) {
	for _, protocol := range []string{"http", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			c := proxytest.NewCollector(t, protocol, "127.0.0.1:0")
			g := proxytest.Start(t, loggedConfig(fmt.Sprintf(`{otlp: {endpoint: "http://%s", protocol: %s, resource: {zone: a}}}`, c.Addr, protocol),
				`tracing: {endpoint: "http://127.0.0.1:1", sample: 0%}`))
			g.Get("/x?a=1", "traceparent", callersParent[:53]+"00")
			for end := time.Now().Add(30 * time.Second); len(c.Records()) == 0; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("no record has come: %s", g.Log)
				}
			}
			r := c.Records()[0]
			if r.Trace != callersTrace || len(r.Span) != 16 || r.Attributes["path"] != "/x" || r.Attributes["status"] != "200" ||
				r.Attributes["query"] != "a=1" || !strings.HasPrefix(r.Body, `{"time":`) {
				t.Errorf("record %+v", r)
			}
		})
	}
}

func TestRedaction(t *testing.T) {
	const secret = "s3cret"
	template := "$http_authorization|$http_cookie|$cookie_sid|$http_x_api_key|$http_x_pin|$arg_token|$arg_pin|$arg_q|$args|$request|$request_uri|$http_referer|$sent_http_set_cookie|$http_x_none"
	for _, c := range []struct {
		name, block, more string
		want              string // "": only that no secret is shown
	}{
		{"template", `template: "` + template + `"`, "redact: {names: [X-Pin, pin]}",
			"***|***|***|***|***|***|***|v|q=v&token=***&pin=***|GET /x?q=v&token=***&pin=*** HTTP/1.1|/x?q=v&token=***&pin=***|http://a/?token=***|***|-\n"},
		{"JSON", `format: json`, "redact: {names: [X-Pin, pin]}", ""},
		{"text", `format: text`, "redact: {names: [X-Pin, pin]}", ""},
		{"asked otherwise", `template: "$http_authorization $arg_token $args"`, "redact: {credentials: false}",
			"Bearer s3cret s3cret q=v&token=s3cret&pin=s3cret\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			g := proxytest.Start(t, loggedConfig(fmt.Sprintf("{file: %s, %s}", path, c.block), c.more))
			g.Get("/x?q=v&token="+secret+"&pin="+secret, "Authorization", "Bearer "+secret, "Cookie", "sid="+secret,
				"X-Api-Key", secret, "X-Pin", secret, "Referer", "http://a/?token="+secret)
			line := lines(t, path, 1)[0]
			if c.want != "" && line != c.want {
				t.Errorf("line\n%swant\n%s", line, c.want)
			}
			if c.want == "" && (strings.Contains(line, secret) || !strings.Contains(line, "q=v&token=***&pin=***")) {
				t.Errorf("line %s", line)
			}
		})
	}
}

// TestFullDisk holds that requests are served while the log's disk is full, and
// that it is said once.
func TestFullDisk(t *testing.T) {
	g := proxytest.Start(t, loggedConfig("{file: /dev/full}", ""))
	for range 50 {
		if a := g.Get("/x"); a.StatusCode != 200 {
			t.Fatalf("answer %d while the disk is full", a.StatusCode)
		}
	}
	waitMetric(t, g, `perigee_access_log_dropped_total 50$`)
	if n := strings.Count(g.Log.String(), "no space left on device"); n != 1 {
		t.Errorf("it was said %d times:\n%s", n, g.Log)
	}
}
