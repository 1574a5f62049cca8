package limit

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

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
			top := observe.LimitKeyInfo{Key: r.keys.text(k.key), ID: fmt.Sprintf("%016x", k.hash), Seen: k.count}
			if r.shared == nil {
				left := all.Quota(r.table.PeekHashed(all, k.hash, 1, r.clock.Now()), 1).Remaining
				top.Remaining = &left
			}
			info.Top = append(info.Top, top)
		}
		infos = append(infos, info)
	}
	return infos
}

func (r *rule) keyText() string {
	parts := make([]string, len(r.config.Key))
	for i := range r.config.Key {
		parts[i] = r.config.Key[i].text()
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
		if r.shared != nil && r.forgetShared(h) {
			found = true
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

// forgetShared has the store forget a key, if its text is known whole.
func (r *rule) forgetShared(h uint64) (found bool) {
	for _, k := range r.top.list() {
		if k.hash != h || len(k.key) >= topKeyBytes {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		found, _ = r.shared.fleet.Forget(ctx, &r.grades[len(r.grades)-1].limit, k.key)
		cancel()
		return found
	}
	return false
}

// ErrorRatios adds, by the names of limits that are leased, what this instance's
// largest slice is of one second's limit.
func (f *Filter) ErrorRatios(ratios map[string]float64) {
	for _, r := range f.rules {
		if r.shared != nil {
			r.shared.errorRatios(r.name, ratios)
		}
	}
}

func (s *sharing) errorRatios(name string, ratios map[string]float64) {
	for _, leases := range s.leases {
		if leases != nil {
			ratios[name] = max(ratios[name], leases.ErrorRatio())
		}
	}
}

// Stores describes the stores that limits use.
func (s *Store) Stores() []observe.LimitStoreInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	var infos []observe.LimitStoreInfo
	for _, o := range s.fleets {
		if slices.ContainsFunc(infos, func(i observe.LimitStoreInfo) bool { return i.Name == o.name }) {
			continue // of a configuration that ends
		}
		sent, errs := o.Commands()
		infos = append(infos, observe.LimitStoreInfo{Name: o.name, Up: o.Up(), Instances: o.Live(), Commands: sent, Errors: errs})
	}
	return infos
}
