// Package rewrite changes a request before anything else is done with it: it
// sets variables, replaces the path, answers at once, and does so under
// conditions. It is what nginx's rewrite module is: a list of steps, carried
// out in order.
package rewrite

import (
	"fmt"
	"sort"

	"perigee/proxy/unit"
)

// Steps is a route's rewrite block: steps that are carried out in order before
// its rewrite script.
type Steps []Step

// Step is one thing that is done, or several in this order: set, lua, path with
// to, route, respond.
type Step struct {
	// If says when the step is done; without it: always. "$x" is true unless $x
	// is empty or 0; =, !=, ~, ~*, !~ and !~* compare. nginx: if.
	If unit.Condition `yaml:"if,omitempty"`
	// Set gives variables values, one after the other by name; a name that is
	// set anywhere exists in all routes, empty at first. nginx: set.
	Set map[string]unit.Template `yaml:"set,omitempty"`
	// Lua runs a script of lua.set, by its name. nginx: set_by_lua.
	Lua string `yaml:"lua,omitempty"`
	// Path says which paths are replaced: a pattern in the syntax of match.paths,
	// whose groups are $1 to $9. nginx: rewrite's first argument.
	Path unit.Pattern `yaml:"path,omitempty"`
	// To is the new path, with a query if it has one: the request's own query is
	// added to it, unless it ends in a question mark. nginx: rewrite's second
	// argument.
	To unit.Template `yaml:"to,omitempty"`
	// Then is what follows. Without it the next step; a path that is not what it
	// was when the last step is done is matched again. last matches the path
	// again at once, break ends the list and stays on this route, redirect and
	// permanent send the client to it with 302 and 301. nginx: rewrite's flags,
	// and break.
	Then Then `yaml:"then,omitempty"`
	// Route is the name of a route that goes on with the request as it is: with
	// its steps, scripts and content.
	Route string `yaml:"route,omitempty"`
	// Respond answers at once: a status, or a mapping. nginx: return.
	Respond *Answer `yaml:"respond,omitempty"`
}

// Then is what follows a step.
type Then string

// What may follow.
const (
	Last      Then = "last"
	Break     Then = "break"
	Redirect  Then = "redirect"
	Permanent Then = "permanent"
)

// Values are the words that are accepted.
func (Then) Values() []string {
	return []string{string(Last), string(Break), string(Redirect), string(Permanent)}
}

// Answer is an answer from the configuration.
type Answer struct {
	// Status is the response code, 200 to 599; 444 closes the connection without
	// a word.
	Status int `yaml:"status" config:"short"`
	// Location is where a redirect leads.
	Location unit.Template `yaml:"location,omitempty"`
	// ContentType is the Content-Type of the body. Default: default_type of the
	// route.
	ContentType unit.Template `yaml:"content_type,omitempty"`
	// Body is the response body, variables evaluated. Without one a status of 300
	// or more gets its error page, or else a line that names it.
	Body unit.Template `yaml:"body,omitempty"`
}

// SetDefaults gives every field that has one its default.
func (a *Answer) SetDefaults() { a.Status = 200 }

// Variables are the names that the steps set, sorted.
func (s Steps) Variables() []string {
	var names []string
	for i := range s {
		for name := range s[i].Set {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// Runs tells whether a step runs the script of lua.set of that name.
func (s Steps) Runs(name string) bool {
	for i := range s {
		if s[i].Lua == name {
			return true
		}
	}
	return false
}

// Answers tells whether the steps always answer.
func (s Steps) Answers() bool {
	for i := range s {
		if s[i].Respond != nil && s[i].If.IsZero() {
			return true
		}
	}
	return false
}

// Routes are the names of routes that steps go on with.
func (s Steps) Routes() map[int]string {
	routes := map[int]string{}
	for i := range s {
		if s[i].Route != "" {
			routes[i] = s[i].Route
		}
	}
	return routes
}

// Check reports steps that do nothing or could never be done. set tells which
// scripts lua.set has.
func (s Steps) Check(set func(name string) bool) []unit.Problem {
	var problems []unit.Problem
	ended := -1
	for i := range s {
		at := fmt.Sprintf("[%d]", i)
		report := func(key, message, hint string) {
			if key != "" {
				key = "." + key
			}
			problems = append(problems, unit.Problem{Path: at + key, Message: message, Hint: hint})
		}
		step := &s[i]
		if ended >= 0 {
			report("", fmt.Sprintf("the step is never done: step %d ends the list", ended+1), "remove it, or give that one an if")
			break
		}
		step.check(report)
		if step.Lua != "" && !set(step.Lua) {
			report("lua", fmt.Sprintf("there is no script lua.set.%s", step.Lua), "add it, or remove the step")
		}
		if step.If.IsZero() && step.Path.IsZero() && (step.Respond != nil || step.Route != "" || step.Then == Break) {
			ended = i
		}
	}
	return problems
}

func (s *Step) check(report func(key, message, hint string)) {
	if len(s.Set) == 0 && s.Lua == "" && s.Path.IsZero() && s.Respond == nil && s.Route == "" && s.Then == "" {
		report("", "the step does nothing", "add set, lua, path with to, then, route or respond")
	}
	switch {
	case !s.Path.IsZero() && s.To.IsZero():
		report("path", "a path is replaced by nothing", "add to")
	case s.Path.IsZero() && !s.To.IsZero():
		report("to", "nothing says which paths are replaced", "add path")
	case s.Path.IsZero() && s.Then != "" && s.Then != Break:
		report("then", fmt.Sprintf("%q needs a path that was replaced", s.Then), "add path and to, or write break")
	case !s.Path.IsZero() && s.Respond != nil:
		report("respond", "a step replaces the path or answers, not both", "make two steps of it")
	case s.Route != "" && (s.Respond != nil || !s.Path.IsZero() || s.Then != ""):
		report("route", "a step goes on with another route or does something else", "make two steps of it")
	}
	if s.Respond == nil {
		return
	}
	if status := s.Respond.Status; status < 200 || status > 599 {
		report("respond.status", fmt.Sprintf("status %d is no final response code", status), "write 200 to 599")
	}
}
