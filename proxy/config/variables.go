package config

import (
	"fmt"
	"slices"
	"strings"

	"perigee/proxy/unit"
)

func (c *checker) variables() {
	c.names("variables", sortedKeys(c.Variables))
	c.names("maps", sortedKeys(c.Maps))
	for _, name := range sortedKeys(c.Variables) {
		if c.reaches(name, name, make(map[string]bool)) {
			c.report(unit.Join("variables", name), fmt.Sprintf("variable %q is made of itself", name), "write $$ for a dollar, or use another name")
		}
	}
	for _, name := range sortedKeys(c.Maps) {
		path := unit.Join("maps", name)
		if c.Maps[name] == nil {
			c.report(path, "a map without anything to look up", "write from, exact and default")
			continue
		}
		c.problems(path, c.Maps[name].Check())
		if _, twice := c.Variables[name]; twice {
			c.report(path, fmt.Sprintf("variable %q is one of variables, too", name), "use another name")
		} else if c.reaches(name, name, make(map[string]bool)) {
			c.report(path, fmt.Sprintf("variable %q is made of itself", name), "write $$ for a dollar, or use another name")
		}
	}
}

// reaches says whether the variable from is made of the variable to, directly
// or through others.
func (c *checker) reaches(from, to string, seen map[string]bool) (found bool) {
	seen[from] = true
	c.madeOf(from, func(name string) {
		if name == to {
			found = true
		} else if !seen[name] {
			found = found || c.reaches(name, to, seen)
		}
	})
	return found
}

// madeOf visits the variables that a variable is made of.
func (f *File) madeOf(name string, visit func(string)) {
	of := func(t unit.Template) {
		for _, part := range t.Parts() {
			if part.Variable != "" {
				visit(part.Variable)
			}
		}
	}
	if t, ours := f.Variables[name]; ours {
		of(t)
	} else if m := f.Maps[name]; m != nil {
		m.Templates(of)
	}
}

// VariableOrder lists the names of Variables so that each comes after those it
// is made of, and otherwise by name. Load has refused circles.
func (f *File) VariableOrder() []string {
	order := make([]string, 0, len(f.Variables))
	done := make(map[string]bool, len(f.Variables))
	var add func(name string)
	add = func(name string) {
		if done[name] {
			return
		}
		done[name] = true
		f.madeOf(name, add)
		if _, ours := f.Variables[name]; ours {
			order = append(order, name)
		}
	}
	for _, name := range sortedKeys(f.Variables) {
		add(name)
	}
	return order
}

// SetVariables are the variables that only routes set, sorted.
func (f *File) SetVariables() []string {
	var names []string
	for i := range f.Routes {
		r := &f.Routes[i]
		names = append(names, r.Rewrite.Variables()...)
		for _, p := range r.Match.Paths {
			names = append(names, unit.GroupNames(p.Regexp)...)
		}
		for j := range r.Rewrite {
			names = append(names, unit.GroupNames(r.Rewrite[j].Path.Regexp)...)
			names = append(names, unit.GroupNames(r.Rewrite[j].If.Regexp)...)
		}
		if r.Lua != nil {
			names = append(names, r.Lua.Variables()...)
		}
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool {
		_, ours := f.Variables[name]
		return ours
	})
}

// CheckVariables reports templates with a variable that the configuration's
// variables do not name and that known does not know: at run time it would be
// empty without a word. Captures ($1 to $9) are always known.
func (f *File) CheckVariables(known func(name string) bool) Errors {
	c := &checker{File: f}
	set := f.SetVariables()
	f.Templates(func(path string, t unit.Template) {
		for _, part := range t.Parts() {
			name := part.Variable
			if name == "" || f.names(path, name) || slices.Contains(set, name) || name[0] >= '0' && name[0] <= '9' || known(name) {
				continue
			}
			hint := "$$ is a dollar"
			if near, found := nearest(name, append(sortedKeys(f.Variables), sortedKeys(f.Maps)...)); found {
				hint = fmt.Sprintf("did you mean $%s?", near)
			}
			c.report(path, fmt.Sprintf("there is no variable $%s", name), hint)
		}
	})
	return c.errs.sorted()
}

// names tells whether the configuration itself makes a variable that stands in
// the text at path.
func (f *File) names(path, name string) bool {
	if _, ours := f.Variables[name]; ours || f.Maps[name] != nil {
		return true
	}
	rest, inMap := strings.CutPrefix(path, "maps.")
	if !inMap {
		return false
	}
	for key, m := range f.Maps {
		for i := range m.Regex {
			if m.Regex[i].Names(name) && rest == fmt.Sprintf("%s.regex[%d].value", key, i) {
				return true
			}
		}
	}
	return false
}
