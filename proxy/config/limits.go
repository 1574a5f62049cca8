package config

import (
	"fmt"
	"reflect"
)

// sharedLimits checks that limits of one name on several routes, which count
// together, have the same numbers.
func (c *checker) sharedLimits() {
	type place struct{ route, limit int }
	first := map[string]place{}
	for i := range c.Routes {
		rules := c.Routes[i].Limit
		for j := range rules {
			name := rules.Name(j, c.Routes[i].Name)
			p, again := first[name]
			if !again {
				first[name] = place{i, j}
				continue
			}
			if one := &c.Routes[p.route].Limit[p.limit]; p.route != i && !reflect.DeepEqual(one.Spec(), rules[j].Spec()) {
				c.report(fmt.Sprintf("routes[%d].limit[%d]", i, j),
					fmt.Sprintf("limit %q has other numbers than at routes[%d].limit[%d], with which it counts", name, p.route, p.limit),
					"give it the same numbers, or a name of its own")
			}
		}
	}
}

// Limited tells whether any route has limits.
func (f *File) Limited() bool {
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
