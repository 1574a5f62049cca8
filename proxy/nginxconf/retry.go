package nginxconf

import (
	"slices"
	"strconv"
	"strings"
)

// retry is what a block says of another attempt at another endpoint.
type retry struct {
	on     []string // nil: nginx's error and timeout
	any    bool     // non_idempotent
	off    bool
	tries  string // proxy_next_upstream_tries, "" or "0": as many as there are endpoints
	within string
}

// next carries proxy_next_upstream and its like over. False: the directive is
// about something else.
func (m *importer) next(d *directive, r *retry) bool {
	switch d.name {
	case "proxy_next_upstream":
		m.nextOn(d, r)
	case "proxy_next_upstream_tries":
		if n, err := strconv.Atoi(d.arg(0)); err != nil || n < 0 || n > 100 {
			m.leave(d, "%q is no number of attempts up to 100", d.arg(0))
			return true
		}
		r.tries = strings.TrimLeft(d.arg(0), "0")
	case "proxy_next_upstream_timeout":
		text, ok := duration(d.arg(0))
		if !ok {
			m.leave(d, "%q is no time", d.arg(0))
			return true
		}
		if r.within = text; text == "0s" {
			r.within = ""
		}
	default:
		return false
	}
	return true
}

func (m *importer) nextOn(d *directive, r *retry) {
	r.on, r.any, r.off = []string{}, false, false
	add := func(words ...string) {
		for _, word := range words {
			if !slices.Contains(r.on, word) {
				r.on = append(r.on, word)
			}
		}
	}
	for _, word := range d.args {
		switch word {
		case "error":
			add("connect", "reset")
		case "invalid_header":
			add("reset")
		case "timeout":
			add("timeout")
		case "non_idempotent":
			r.any = true
		case "off":
			r.off = true
		case "http_403", "http_404", "http_429", "http_500", "http_502", "http_503", "http_504":
			add(strings.TrimPrefix(word, "http_"))
		default:
			m.leave(d, "%q is no outcome of an attempt that is tried again", word)
		}
	}
}

// yaml adds a retry block for an upstream of so many endpoints.
func (r *retry) yaml(m mapping, endpoints int) {
	block := newMapping()
	attempts := strconv.Itoa(min(endpoints, 100))
	if r.tries != "" {
		attempts = r.tries
	}
	on := r.on
	if on == nil {
		on = []string{"connect", "reset", "timeout"}
	}
	if r.off || len(on) == 0 {
		attempts, on = "1", nil
	}
	block.plain("attempts", attempts)
	if attempts != "1" {
		block.add("on", words(on))
		block.plain("within", r.within)
		if r.any {
			block.plain("any_method", "true")
		}
	}
	m.add("retry", block.node)
}

// retried adds a route's retry block, if it has any effect.
func (o *output) retried(m mapping, r *route) {
	if to := &r.sending.retry; to.on != nil || to.tries != "" || to.within != "" {
		endpoints := 2
		for i := range o.upstreams {
			if u := &o.upstreams[i]; u.name == r.upstream {
				if endpoints = len(u.endpoints); u.balancer != nil {
					endpoints = 100
				}
			}
		}
		if endpoints > 1 {
			to.yaml(m, endpoints)
		}
	}
}
