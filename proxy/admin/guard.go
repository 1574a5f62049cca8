package admin

import (
	"net/http"
	"net/netip"
	"time"
)

// guard is around the full listener's doors: it refuses what can only come from
// a web page that has no business here, and hands the rest to plain.
func guard(hosts []string, next http.Handler) http.Handler {
	known := map[string]bool{"localhost": true}
	for _, host := range hosts {
		known[hostName(host)] = true
	}
	// Refuses methods that change something when the browser says that the
	// request comes from another site (Sec-Fetch-Site, or Origin unlike Host).
	// Tools send neither header and pass.
	crossOrigin := http.NewCrossOriginProtection()
	checked := plain(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := hostName(r.Host)
		if _, err := netip.ParseAddr(host); err != nil && !known[host] {
			http.Error(w, "this listener answers to IP addresses, localhost and the configured names; Host is none of them", http.StatusMisdirectedRequest)
			return
		}
		if err := crossOrigin.Check(r); err != nil {
			http.Error(w, "a page of another site may not ask for this", http.StatusForbidden)
			return
		}
		checked.ServeHTTP(w, r)
	})
}

// refusedBodyTime is for how long a body that no door takes is read and thrown
// away before its connection is closed.
const refusedBodyTime = time.Second

// plain is around all doors: limits, and headers that keep browsers from
// guessing, keeping and framing what they get.
func plain(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		setAnswerDeadline(w, answerTimeout)
		if r.ContentLength != 0 {
			// The server reads what is left of a body before it closes; nobody
			// waits long for that.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(refusedBodyTime))
			h.Set("Connection", "close")
			http.Error(w, "no door takes a request body", http.StatusRequestEntityTooLarge)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// setAnswerDeadline bounds how long the answer may take from now. A writer
// without deadlines, which only tests have, is left as it is.
func setAnswerDeadline(w http.ResponseWriter, limit time.Duration) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(limit))
}
