package limit

import (
	"fmt"
	"strconv"
	"strings"

	"perigee/proxy/observe"
)

// Infos describes the filter's limits for operators.
func (f *Filter) Infos() []observe.LimitInfo {
	infos := make([]observe.LimitInfo, 0, len(f.rules))
	for _, r := range f.rules {
		info := observe.LimitInfo{
			Name: r.name, Route: f.route, Key: r.keyText(), Algorithm: r.config.Spec().Algorithm.String(),
			Numbers: r.config.Numbers(), DryRun: r.config.DryRun,
			Decisions: map[string]int64{}, Top: []observe.LimitKeyInfo{},
		}
		for outcome := observe.LimitAllowed; observe.LimitOutcome(outcome) != "unknown"; outcome++ {
			if n := r.metrics.Total(outcome); n > 0 {
				info.Decisions[observe.LimitOutcome(outcome)] = n
			}
		}
		all := &r.grades[len(r.grades)-1].limit
		for _, k := range r.top.list() {
			seen := r.table.PeekHashed(all, k.hash, 1, r.clock.Now())
			info.Top = append(info.Top, observe.LimitKeyInfo{
				Key: r.keys.text(k.key), ID: fmt.Sprintf("%016x", k.hash), Seen: k.count,
				Remaining: all.Quota(seen, 1).Remaining,
			})
		}
		infos = append(infos, info)
	}
	return infos
}

func (r *rule) keyText() string {
	parts := make([]string, len(r.config.Key))
	for i, p := range r.config.Key {
		parts[i] = p.String()
	}
	return strings.Join(parts, " ")
}

// Reset lets a key of the named limit start afresh; id is as Infos has it. It
// tells whether there was anything to forget.
func (f *Filter) Reset(name, id string) (found bool) {
	h, err := strconv.ParseUint(id, 16, 64)
	if err != nil {
		return false
	}
	for _, r := range f.rules {
		if r.name != name {
			continue
		}
		for i := range r.grades {
			if g := &r.grades[i]; !g.unlimited && r.table.ForgetHashed(&g.limit, h) {
				found = true
			}
		}
		r.top.forget(h)
	}
	return found
}

// Tells says whether the filter has fields for answers.
func (f *Filter) Tells() bool {
	for _, r := range f.rules {
		if !r.inflight && !r.config.DryRun && r.config.Headers != "never" {
			return true
		}
	}
	return false
}
