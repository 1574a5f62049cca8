package config

import (
	"fmt"

	"perigee/proxy/limit"
	"perigee/proxy/unit"
)

// sharedLimits checks the limits of scripts, and that limits of one name on
// several routes, which count together, have the same numbers.
func (c *checker) sharedLimits() {
	for _, name := range sortedKeys(c.RateLimits) {
		path := unit.Join("rate_limits", name)
		if !limit.IsName(name) {
			c.report(path, fmt.Sprintf("limit name %q is not usable in metrics and logs", name), nameHint)
		}
		if n := c.RateLimits[name]; n == nil {
			c.report(path, "a limit says how many", "add rate: 100/s or monthly: 100000")
		} else {
			c.problems(path, n.Check())
			c.store(path+".redis", n.Redis)
		}
	}
	for _, name := range sortedKeys(c.Redis) {
		path := unit.Join("redis", name)
		if !limit.IsName(name) {
			c.report(path, fmt.Sprintf("store name %q is not usable in metrics and logs", name), nameHint)
		}
		if r := c.Redis[name]; r != nil {
			c.problems(path, r.Check())
		}
	}
	type place struct{ route, limit int }
	first := map[string]place{}
	for i := range c.Routes {
		rules := c.Routes[i].Limit
		for j := range rules {
			name := rules.Name(j, c.Routes[i].Name)
			c.store(fmt.Sprintf("routes[%d].limit[%d].redis", i, j), rules[j].Redis)
			if rules[j].Guards() && c.Routes[i].Auth == nil {
				c.report(fmt.Sprintf("routes[%d].limit[%d].charge", i, j), "nothing fails here: the route has no auth", "add auth, or charge something else")
			}
			if n := c.RateLimits[name]; n != nil && (n.Spec() != rules[j].Spec() || rules[j].Redis != n.Redis) {
				c.report(fmt.Sprintf("routes[%d].limit[%d]", i, j),
					fmt.Sprintf("limit %q has other numbers or another store than in rate_limits, with which it counts", name),
					"give it the same numbers and the same store, or a name of its own")
			}
			p, again := first[name]
			if !again {
				first[name] = place{i, j}
				continue
			}
			if one := &c.Routes[p.route].Limit[p.limit]; p.route != i && (one.Spec() != rules[j].Spec() || one.Redis != rules[j].Redis) {
				c.report(fmt.Sprintf("routes[%d].limit[%d]", i, j),
					fmt.Sprintf("limit %q has other numbers or another store than at routes[%d].limit[%d], with which it counts", name, p.route, p.limit),
					"give it the same numbers, or a name of its own")
			}
		}
	}
}

// store reports the name of a store that is not there; "" is none.
func (c *checker) store(path, name string) {
	if name == "" || c.Redis[name] != nil {
		return
	}
	hint := "add it under redis"
	if near, found := nearest(name, sortedKeys(c.Redis)); found {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	c.report(path, fmt.Sprintf("there is no store %q", name), hint)
}

// Limited tells whether anything counts in the memory of limits.
func (f *File) Limited() bool {
	if len(f.RateLimits) > 0 {
		return true
	}
	for i := range f.Routes {
		if len(f.Routes[i].Limit) > 0 {
			return true
		}
	}
	return false
}

// LimitNames are the names of all limits.
func (f *File) LimitNames() map[string]bool {
	names := map[string]bool{}
	for i := range f.Routes {
		for j := range f.Routes[i].Limit {
			names[f.Routes[i].Limit.Name(j, f.Routes[i].Name)] = true
		}
	}
	return names
}

// LimitStores are the entries of redis that limits use.
func (f *File) LimitStores() map[string]*limit.Redis {
	stores := map[string]*limit.Redis{}
	for i := range f.Routes {
		for j := range f.Routes[i].Limit {
			if name := f.Routes[i].Limit[j].Redis; name != "" {
				stores[name] = f.Redis[name]
			}
		}
	}
	for _, n := range f.RateLimits {
		if n.Redis != "" {
			stores[n.Redis] = f.Redis[n.Redis]
		}
	}
	return stores
}
