package proxy

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"perigee/proxy/config"
	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/route"
	"perigee/proxy/wire"
)

// Check builds everything that a configuration asks for, scripts included, and
// throws it away: what passes here can be applied, if its addresses are free.
func Check(file *config.File) error {
	log := observe.NewLog(discard{}, observe.LevelEmerg)
	state := NewState(observe.BuildInfo{}, log)
	defer state.Upstreams.Close()
	defer state.Auth.Close()
	for i := range file.Listeners {
		if _, err := serverTLS(file.Listeners[i].TLS); err != nil {
			return file.NewError(fmt.Sprintf("listeners[%d].tls", i), err.Error(), "give readable PEM files that belong together")
		}
	}
	snap, err := build(file, state)
	if err != nil {
		return err
	}
	snap.close()
	return nil
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }

// HeaderLine is a field of a Question.
type HeaderLine struct{ Name, Value string }

// Question is a request that Explain is asked about.
type Question struct {
	Method, URL string
	Headers     []HeaderLine
}

// Explain says in lines of text which route would serve a request, why the
// others do not, and what would happen on the route.
func Explain(file *config.File, q Question) (string, error) {
	ex, err := q.exchange()
	if err != nil {
		return "", err
	}
	defer exchange.Release(ex)
	found := newTables(file)
	ex.Conn.Listener = file.Listeners[0].Address
	result, steps := found.serve.Explain(asked{ex}, route.Outside)
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s (host %s, path %s)\n", q.Method, q.URL, ex.Host, ex.Path)
	explainBefore(&b, file, found, ex)
	for _, s := range steps {
		explainStep(&b, s)
	}
	switch result.Outcome {
	case route.Found:
		explainRoute(&b, file, &file.Routes[found.serving[result.Rule]])
	case route.WrongMethod:
		b.WriteString("answer: 405, only another method finds a route\n")
	default:
		b.WriteString("answer: 404, no route\n")
	}
	return b.String(), nil
}

// explainBefore writes whose steps come before the route is looked for.
func explainBefore(b *strings.Builder, file *config.File, found tables, ex *exchange.Exchange) {
	if found.before == nil {
		return
	}
	if result := found.before.Match(asked{ex}, route.Inside, nil); result.Outcome == route.Found {
		r := &file.Routes[found.early[result.Rule]]
		fmt.Fprintf(b, "before: %s, which may answer or change the request\n", r.Name)
		explainRewrite(b, r)
	}
}

func explainRewrite(b *strings.Builder, r *config.Route) {
	if r.Transform != nil {
		b.WriteString("  rewrite: transform\n")
	}
	if n := len(r.Rewrite); n > 0 {
		fmt.Fprintf(b, "  rewrite: %d steps, which may answer or change the request\n", n)
	}
}

// explainStep writes one candidate: whether it serves, where it was found, why.
func explainStep(b *strings.Builder, s route.Step) {
	outcome := "passed over"
	if s.Won {
		outcome = "serves"
	}
	fmt.Fprintf(b, "  route %s %s", s.Name, outcome)
	if s.Host != "" {
		fmt.Fprintf(b, ", host %s", s.Host)
	}
	if s.Path != "" {
		fmt.Fprintf(b, ", path %s", s.Path)
	}
	fmt.Fprintf(b, ": %s\n", s.Reason)
}

// exchange makes the request as it would arrive.
func (q Question) exchange() (*exchange.Exchange, error) {
	u, err := url.Parse(q.URL)
	if err != nil {
		return nil, fmt.Errorf("URL %q: %w", q.URL, err)
	}
	host := u.Host
	if host == "" {
		host = "localhost"
	}
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\n", q.Method, u.RequestURI())
	for _, h := range q.Headers {
		if strings.EqualFold(h.Name, "host") {
			host = h.Value
			continue
		}
		fmt.Fprintf(&head, "%s: %s\r\n", h.Name, h.Value)
	}
	fmt.Fprintf(&head, "Host: %s\r\n\r\n", host)
	ex := exchange.Acquire(nil, &exchange.Conn{RemoteAddr: net.IPv4(127, 0, 0, 1).String()})
	ex.Raw = []byte(head.String())
	n, err := wire.ScanRequest(&ex.Head, ex.Raw, 0, wire.Limits{})
	switch {
	case err != nil:
		return nil, fmt.Errorf("this request would be refused: %w", err)
	case n != len(ex.Raw):
		return nil, fmt.Errorf("URL %q does not make one request head", q.URL)
	}
	ex.BeginRequest()
	if !setTarget(ex) {
		return nil, fmt.Errorf("this request would be refused with 400: path %q cannot be decoded", u.Path)
	}
	return ex, nil
}

// explainLimits writes a route's limits of auth failures, or the others.
func explainLimits(b *strings.Builder, r *config.Route, guards bool) {
	what := ""
	if guards {
		what = " of credentials that auth refuses"
	}
	for i := range r.Limit {
		if r.Limit[i].Guards() == guards {
			fmt.Fprintf(b, "  limit: %s, %s%s\n", r.Limit.Name(i, r.Name), r.Limit[i].Numbers(), what)
		}
	}
}

func explainRoute(b *strings.Builder, file *config.File, r *config.Route) {
	fmt.Fprintf(b, "route: %s\n", r.Name)
	explainRewrite(b, r)
	if n := len(r.IP); n > 0 {
		fmt.Fprintf(b, "  access: %d rules on the client's address\n", n)
	}
	explainLimits(b, r, true)
	if r.Auth != nil {
		fmt.Fprintf(b, "  access: auth, %s\n", r.Auth)
	}
	explainLimits(b, r, false)
	if r.Lua != nil {
		for key, s := range r.Lua.Sources() {
			fmt.Fprintf(b, "  %s: lua %s\n", key, strings.TrimLeft(s.ChunkName(key+"_by_lua"), "=@"))
		}
	}
	switch {
	case r.Respond != nil:
		fmt.Fprintf(b, "answer: %d, from the configuration\n", r.Respond.Status)
	case r.Static != nil && !r.Static.Alias.IsZero():
		fmt.Fprintf(b, "answer: files, %s in the place of what matched\n", r.Static.Alias)
	case r.Static != nil:
		fmt.Fprintf(b, "answer: files below %s\n", r.Static.Root)
	case r.Upstream != "":
		fmt.Fprintf(b, "upstream: %s\n", r.Upstream)
		u := file.Upstreams[r.Upstream]
		for _, e := range u.Endpoints {
			fmt.Fprintf(b, "  endpoint %s weight %d\n", e.Address, e.Weight)
		}
		retry := &u.Retry
		if r.Retry != nil {
			retry = r.Retry
		}
		fmt.Fprintf(b, "  attempts %d, retry on %v\n", retry.Attempts, retry.On)
	case !r.Proxy.Target.IsZero():
		fmt.Fprintf(b, "target: %s\n", r.Proxy.Target)
	default:
		b.WriteString("answer: from the content script\n")
	}
}
