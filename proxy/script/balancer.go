package script

import (
	"net"
	"strconv"
	"strings"
	"time"

	"perigee/luavm"
	"perigee/proxy/exchange"
	"perigee/proxy/upstream"
)

// NewBalancer makes the filter that runs an upstream's balancer script before
// each attempt; its verdicts are Continue, Wait and Fail. The error is a
// *SyntaxError.
func NewBalancer(pool *luavm.Pool, name string, c *upstream.LuaConfig, report Report) (exchange.Filter, error) {
	f := &Filter{pool: pool, report: report}
	source := c.Balancer
	if c.WaitEverywhere {
		f.flags |= luavm.FlagWaits
	}
	const stage, key = exchange.Balancer, "balancer"
	label := Name("upstream:"+name, key)
	sc, err := pool.Add(Lua(source, label, key+"_by_lua"))
	if err != nil || source.Missing != "" {
		if why := f.cannotRun(source, label, err); why != nil {
			return why, nil
		}
		return nil, &SyntaxError{Key: key, Err: err}
	}
	f.scripts[stage] = sc
	f.metrics[stage] = report.Metrics(label)
	return f, nil
}

// beginAttempt tells the script about the attempts so far and forgets the peer
// that it named for the last one.
func beginAttempt(ex *exchange.Exchange) {
	ex.Peer.Address = ""
	last := 0
	if a := ex.Record.Last(); a != nil && ex.Attempts > 0 {
		last = a.Status
	}
	ex.Lua.SetAttempt(ex.Attempts+1, ex.Outlet.Proxy.Attempts, last)
}

func editPeer(ex *exchange.Exchange, e *luavm.Edit) {
	p := &ex.Peer
	switch e.Kind {
	case luavm.EditPeer:
		host := strings.Trim(string(e.Value), "[]")
		p.Address = net.JoinHostPort(host, strconv.Itoa(int(e.Aux)))
		p.ServerName = string(e.Name)
	case luavm.EditPeerTries:
		p.More += int(e.Aux)
	case luavm.EditPeerTimeouts:
		n := numbers(e.Value)
		p.Timeouts = upstream.Timeouts{
			Connect: n[0], Send: n[1], Response: n[2], Read: n[2],
		}
	case luavm.EditPeerKeepalive:
		text, requests, _ := strings.Cut(string(e.Value), " ")
		p.IdleTimeout = numbers([]byte(text))[0]
		p.Requests, _ = strconv.Atoi(requests)
	}
}

// numbers reads seconds that are apart by blanks; lualib wrote them.
func numbers(text []byte) (n [3]time.Duration) {
	for i, field := range strings.Fields(string(text)) {
		if seconds, err := strconv.ParseFloat(field, 64); err == nil && i < len(n) {
			n[i] = time.Duration(seconds * float64(time.Second))
		}
	}
	return n
}

// chosen is the verdict of an ended balancer script.
func chosen(ex *exchange.Exchange, out *luavm.Outcome) exchange.Verdict {
	if out.Kind != luavm.Exit || out.Status == 0 {
		return exchange.Continue
	}
	if out.Status >= 200 && out.Status < 600 {
		return fail(ex, int(out.Status))
	}
	return fail(ex, 500)
}
