package nginxconf

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"perigee/proxy/limit"
	"perigee/proxy/unit"
)

// zone is a limit_req_zone or a limit_conn_zone.
type zone struct {
	key  string // a text; "ip": the client's address, all of its bits; "": one for all
	rate string // of limit_req_zone
}

// rates are the limits of a scope. The lists are replaced as a whole by those
// of a block inside; what is said of them is inherited one by one.
type rates struct {
	req, conn             []*directive
	reqStatus, connStatus string
	reqDry, connDry       bool
}

// limited is a limit of a route, as it is written.
type limited struct {
	name, key, status string
	rate, delay       string
	burst, concurrent int
	dry               bool
}

// zone carries over where requests are counted: a zone becomes the name of the
// limits that count in it. How much memory it has is of no concern.
func (m *importer) zone(d *directive) {
	name, rate := "", ""
	for _, option := range d.options() {
		if value, found := strings.CutPrefix(option, "zone="); found {
			name, _, _ = strings.Cut(value, ":")
		}
		if value, found := strings.CutPrefix(option, "rate="); found {
			rate = value
		}
	}
	key, err := template(d.arg(0))
	if err != nil || name == "" {
		m.leave(d, "a key and zone=NAME:SIZE are wanted")
		return
	}
	switch {
	case key == "$binary_remote_addr" || key == "$remote_addr":
		key = "ip"
	case !strings.Contains(key, "$"):
		key = "" // the same for all
	}
	z := zone{key: key}
	if d.name == "limit_req_zone" {
		number, span, found := strings.Cut(rate, "r/")
		if _, err := strconv.ParseUint(number, 10, 31); err != nil || !found || span != "s" && span != "m" {
			m.leave(d, "%q is no rate such as 10r/s or 30r/m", rate)
			return
		}
		z.rate = number + "/" + span
	}
	if m.zones == nil {
		m.zones = make(map[string]zone)
	}
	m.zones[name] = z
}

// rates carries over how often requests may come. False: the directive is about
// something else.
func (m *importer) rates(d *directive, r *rates, own map[string]bool) bool {
	switch d.name {
	case "limit_req", "limit_conn":
		list := &r.req
		if d.name == "limit_conn" {
			list = &r.conn
		}
		if own != nil && !own[d.name] {
			*list, own[d.name] = nil, true
		}
		*list = append((*list)[:len(*list):len(*list)], d)
	case "limit_req_status":
		r.reqStatus = d.arg(0)
	case "limit_conn_status":
		r.connStatus = d.arg(0)
	case "limit_req_dry_run":
		r.reqDry = d.arg(0) == "on"
	case "limit_conn_dry_run":
		r.connDry = d.arg(0) == "on"
	case "limit_req_log_level", "limit_conn_log_level": // refusals are in the access log
	default:
		return false
	}
	return true
}

// limited makes the limits of a route.
func (m *importer) limited(r *rates) (all []limited) {
	for _, d := range r.req {
		if l, ok := m.limitReq(d); ok {
			l.status, l.dry = r.reqStatus, r.reqDry
			all = m.limit(d, all, l)
		}
	}
	for _, d := range r.conn {
		z, found := m.zones[d.arg(0)]
		n, err := strconv.Atoi(d.arg(1))
		if !found || err != nil {
			m.leave(d, "a zone of limit_conn_zone and a number are wanted")
			continue
		}
		all = m.limit(d, all, limited{name: d.arg(0), key: z.key, concurrent: n, status: r.connStatus, dry: r.connDry})
	}
	return all
}

// limitReq is a limit_req. The first request of a burst is none of nginx's burst,
// which counts those beyond; where they wait, each waits for those before it.
func (m *importer) limitReq(d *directive) (l limited, ok bool) {
	burst, free := 0, 0
	var err error
	for _, option := range d.args {
		key, value, _ := strings.Cut(option, "=")
		var n int
		switch key {
		case "zone":
			l.name = value
		case "burst":
			n, err = strconv.Atoi(value)
			burst = n
		case "delay":
			n, err = strconv.Atoi(value)
			free = n
		case "nodelay":
			free = -1
		default:
			err = fmt.Errorf("option %q has no equivalent", option)
		}
		if err != nil || n < 0 {
			m.leave(d, "%q is not understood", option)
			return l, false
		}
	}
	z, found := m.zones[l.name]
	if !found || z.rate == "" {
		m.leave(d, "there is no limit_req_zone %q", l.name)
		return l, false
	}
	l.key, l.rate, l.burst = z.key, z.rate, burst+1
	if free >= 0 && burst > free {
		l.burst = free + 1
		l.delay = m.wait(d, burst-free, z.rate)
	}
	return l, true
}

// wait is how long so many requests wait, one behind the other.
func (m *importer) wait(d *directive, requests int, rate string) string {
	each, err := unit.ParseRate(rate)
	if err != nil || each.Events == 0 {
		return "" // what is wrong is found when the limit is checked
	}
	wait := time.Duration(float64(requests) * float64(each.Per) / float64(each.Events))
	wait = (wait + time.Millisecond - 1).Truncate(time.Millisecond)
	if wait > time.Minute {
		m.leave(d, "a request waits a minute for its turn at most: fewer than %d can wait", requests)
		wait = time.Minute
	}
	return unit.Duration(wait).String()
}

// limit adds a limit to a route's, if it can be.
func (m *importer) limit(d *directive, all []limited, l limited) []limited {
	if l.status == "" {
		l.status = "503"
	}
	rule := limit.Rule{Concurrent: l.concurrent}
	var err error
	if l.rate != "" {
		if rule.Rate, err = unit.ParseRate(l.rate); err == nil {
			rule.Burst = &l.burst
		}
	}
	if l.delay != "" && err == nil {
		rule.Delay, err = unit.ParseDuration(l.delay)
	}
	if err != nil {
		m.leave(d, "%v", err)
		return all
	}
	if rule.Status, err = strconv.Atoi(l.status); err != nil {
		m.leave(d, "%q is no status", l.status)
		return all
	}
	if problems := (limit.Rules{rule}).Check(); len(problems) > 0 {
		m.leave(d, "%s", problems[0].Message)
		return all
	}
	if rule.Status == 444 {
		m.leave(d, "the answer has status 444, where nginx closes the connection without one")
	}
	l.name = m.counter(d, &l)
	for i := range all {
		if all[i].name == l.name {
			return all // nginx refuses it, too
		}
	}
	return append(all, l)
}

// counter is the name under which a limit counts: its zone's, where all limits
// of that have the same numbers.
func (m *importer) counter(d *directive, l *limited) string {
	name := strings.Map(func(r rune) rune {
		if r < 0x80 && nameByte(byte(r)) || r == '-' || r == '.' {
			return r
		}
		return '_'
	}, l.name)
	numbers := limited{rate: l.rate, delay: l.delay, burst: l.burst, concurrent: l.concurrent, key: l.key}
	if m.counters == nil {
		m.counters = make(map[string]limited)
	}
	for i := 1; ; i++ {
		at := name
		if i > 1 {
			at = fmt.Sprintf("%s-%d", name, i)
		}
		first, taken := m.counters[at]
		if !taken {
			m.counters[at] = numbers
			if i > 1 {
				m.leave(d, "limits of one name have the same numbers: %s counts apart from others in zone %s", at, l.name)
			}
			return at
		}
		if first == numbers {
			return at
		}
	}
}

// limits adds a route's limits.
func (m mapping) limits(all []limited) {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for i := range all {
		l := &all[i]
		one := newMapping()
		one.node.Style = yaml.FlowStyle
		one.text("name", l.name)
		if l.key != "" {
			one.add("key", flow([]string{l.key}))
		}
		if l.key == "ip" {
			one.plain("ipv6_prefix", "128")
		}
		one.plain("rate", l.rate)
		if l.rate != "" {
			one.plain("burst", strconv.Itoa(l.burst))
		}
		one.plain("delay", l.delay)
		if l.concurrent > 0 {
			one.plain("concurrent", strconv.Itoa(l.concurrent))
		}
		one.text("on_missing", "skip")
		one.text("headers", "never")
		one.plain("status", l.status)
		if l.dry {
			one.plain("dry_run", "true")
		}
		list.Content = append(list.Content, one.node)
	}
	m.add("limit", list)
}
