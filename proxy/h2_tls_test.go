package proxy_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"perigee/proxy/proxytest"
)

// newTLSOrigin is net/http's server over TLS; what it does not offer is not
// agreed upon.
func newTLSOrigin(t *testing.T, h2 bool, serve http.HandlerFunc) (address string, opened *atomic.Int64) {
	t.Helper()
	opened = new(atomic.Int64)
	s := httptest.NewUnstartedServer(serve)
	s.EnableHTTP2 = h2
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "https://"), opened
}

func tlsH2Gateway(t *testing.T, origin string) *proxytest.Gateway {
	t.Helper()
	return oneUpstream(t, `endpoints: ["https://`+origin+`"], protocol: h2, tls: {verify: false}`)
}

func TestH2OverTLS(t *testing.T) {
	var other atomic.Int64
	origin, opened := newTLSOrigin(t, true, func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			other.Add(1)
		}
		serveTold(w, r)
	})
	g := tlsH2Gateway(t, origin)
	crowd(t, g, 40, 25)
	if n := opened.Load(); n > 2 {
		t.Errorf("%d connections for 40 clients", n)
	}
	if n := other.Load(); n > 0 {
		t.Errorf("%d requests came by another version of HTTP", n)
	}
}

func TestH2NotOffered(t *testing.T) {
	origin, _ := newTLSOrigin(t, false, func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("a request came by %s", r.Proto)
	})
	g := tlsH2Gateway(t, origin)
	if got := g.Get("/"); got.StatusCode != 502 || !g.WaitLog("no application protocol") {
		t.Errorf("status is %s, want 502 and a line that says why; the log is\n%s", got.Status, g.Log.String())
	}
}
