package proxy_test

import (
	"strings"
	"testing"
	"time"

	"perigee/proxy/proxytest"
)

func TestHeadLimits(t *testing.T) {
	g := proxytest.Start(t, `
listeners: [{address: "127.0.0.1:0"}]
admin: {address: "off"}
access_log: {format: "off"}
limits: {header_bytes: 16KiB}
routes: [{name: all, respond: {body: fine}}]
`)
	for _, test := range []struct {
		name   string
		fields int
		field  string
		want   string
	}{
		{"many short fields", 500, "Header-Number: 12\r\n", "HTTP/1.1 200"},
		{"more than the head holds of them", 2000, "A: b\r\n", "HTTP/1.1 431"},
		{"too many bytes", 1000, "Header-Number: 12\r\n", "HTTP/1.1 431"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := g.Talk("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"+strings.Repeat(test.field, test.fields)+"\r\n", 3*time.Second)
			if !strings.HasPrefix(got, test.want) {
				t.Errorf("answer is %.80q, wanted %q", got, test.want)
			}
		})
	}
}
