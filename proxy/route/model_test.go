package route

import (
	"math/rand/v2"
	"sort"
	"strings"
	"testing"

	"perigee/proxy/unit"
)

// modelMatch is the order of the package comment written down without any
// thought of speed: throw away what does not fit, then choose.
func modelMatch(rules []Rule, a *asked, origin Origin) Result {
	host := strings.ToLower(a.host)
	byPriority := map[int][]int{}
	for i := range rules {
		byPriority[rules[i].Priority] = append(byPriority[rules[i].Priority], i)
	}
	priorities := []int{}
	for p := range byPriority {
		priorities = append(priorities, p)
	}
	sort.Sort(sort.Reverse(sort.IntSlice(priorities)))
	for _, p := range priorities {
		for _, group := range modelHosts(rules, byPriority[p], host) {
			fitting := []int{}
			for _, i := range group {
				if modelPredicates(&rules[i], a) && rules[i].allows([]byte(a.method)) {
					fitting = append(fitting, i)
				}
			}
			if won, ok := modelLocation(rules, fitting, a.path); ok {
				if rules[won].Internal && origin == Outside {
					return Result{Outcome: Internal, Rule: won}
				}
				return Result{Outcome: Found, Rule: won}
			}
		}
	}
	for i := range rules {
		r := &rules[i]
		visible := !r.Internal || origin == Inside
		if visible && modelAnyHost(r, host) && modelAnyPath(r, a.path) && modelPredicates(r, a) {
			return Result{Outcome: WrongMethod, Rule: -1}
		}
	}
	return Result{Outcome: NotFound, Rule: -1}
}

// modelHosts groups rules by the host patterns that fit, closest first.
func modelHosts(rules []Rule, among []int, host string) [][]int {
	type name struct {
		kind unit.HostKind
		text string
	}
	groups := map[name][]int{}
	var names []name
	var all []int
	for _, i := range among {
		if len(rules[i].Hosts) == 0 {
			all = append(all, i)
		}
		for _, h := range rules[i].Hosts {
			if n := (name{h.Kind, h.Text}); h.Match([]byte(host)) {
				if groups[n] == nil {
					names = append(names, n)
				}
				groups[n] = append(groups[n], i)
			}
		}
	}
	// The first mention in file order is kept among expressions.
	sort.SliceStable(names, func(i, j int) bool {
		if names[i].kind != names[j].kind {
			return names[i].kind < names[j].kind
		}
		return names[i].kind == unit.HostWildcard && len(names[i].text) > len(names[j].text)
	})
	var ordered [][]int
	for _, n := range names {
		ordered = append(ordered, groups[n])
	}
	return append(ordered, all)
}

// modelLocation is nginx's rule: exact, longest prefix with ^~, expressions in
// order, longest prefix.
func modelLocation(rules []Rule, among []int, path string) (int, bool) {
	for _, i := range among {
		for _, p := range rules[i].Paths {
			if p.Kind == unit.Exact && p.Text == path {
				return i, true
			}
		}
	}
	longest, length, final := -1, -1, false
	for _, i := range among {
		if len(rules[i].Paths) == 0 && length < 0 {
			longest, length = i, 0
		}
		for _, p := range rules[i].Paths {
			if (p.Kind == unit.Prefix || p.Kind == unit.FinalPrefix) && p.Match([]byte(path)) && len(p.Text) > length {
				longest, length, final = i, len(p.Text), p.Kind == unit.FinalPrefix
			}
		}
	}
	if final {
		return longest, true
	}
	for _, i := range among {
		for _, p := range rules[i].Paths {
			if p.Regexp != nil && p.Match([]byte(path)) {
				return i, true
			}
		}
	}
	return longest, longest >= 0
}

func modelPredicates(r *Rule, a *asked) bool {
	for _, p := range r.Headers {
		if value, there := a.Header(p.Name); !p.holds(value, there) {
			return false
		}
	}
	for _, p := range r.Query {
		if value, there := a.Query(p.Name); !p.holds(value, there) {
			return false
		}
	}
	return true
}

func modelAnyHost(r *Rule, host string) bool {
	for _, h := range r.Hosts {
		if h.Match([]byte(host)) {
			return true
		}
	}
	return len(r.Hosts) == 0
}

func modelAnyPath(r *Rule, path string) bool {
	for _, p := range r.Paths {
		if p.Match([]byte(path)) {
			return true
		}
	}
	return len(r.Paths) == 0
}

// words that random rules and requests are made of: few and alike, so that
// they meet often.
var (
	someHosts    = []string{"a.b.c", "b.c", "*.b.c", "*.c", "~ ^a", "~ c$", "c"}
	someSegments = []string{"/", "/a", "/a/", "/ab", "/a/b", "/a/b/c", "/b", "/a/b.x"}
	someRegexes  = []string{"^/a", `\.x$`, "b", "^/(a|b)/?", "/A"}
	someMethods  = []string{"GET", "POST", "PUT"}
)

// randomRules and randomRequest draw from next, a source of numbers below n.
func randomRules(t testing.TB, next func(n int) int) []Rule {
	rules := make([]Rule, 1+next(8))
	for i := range rules {
		var words []string
		for range next(3) {
			words = append(words, "@"+strings.ReplaceAll(someHosts[next(len(someHosts))], " ", "_"))
		}
		for range next(3) {
			modifier := []string{"", "=_", "^~_", "~_", "~*_"}[next(5)]
			if strings.Contains(modifier, "~_") && modifier != "^~_" || modifier == "~*_" {
				words = append(words, modifier+someRegexes[next(len(someRegexes))])
			} else {
				words = append(words, modifier+someSegments[next(len(someSegments))])
			}
		}
		for range next(2) {
			words = append(words, someMethods[next(len(someMethods))])
		}
		for _, extra := range []string{"header:X=1", "header:X=!", "?q=*", "internal", "priority:1", "priority:-1"} {
			if next(8) == 0 {
				words = append(words, extra)
			}
		}
		rules[i] = rule(t, "r", strings.Join(words, " "))
	}
	return rules
}

func randomRequest(next func(n int) int) *asked {
	a := ask(someMethods[next(3)] + " " + []string{"a.b.c", "b.c", "x.b.c", "A.c", "c", "d"}[next(6)] + someSegments[next(len(someSegments))])
	if next(2) == 0 {
		a.headers["X"] = "1"
	}
	if next(2) == 0 {
		a.query["q"] = ""
	}
	return a
}

func compare(t *testing.T, rules []Rule, a *asked, origin Origin) {
	t.Helper()
	want := modelMatch(rules, a, origin)
	tree := NewTable(rules)
	got := tree.Match(a, origin, nil)
	if got.Outcome == want.Outcome && got.Rule == want.Rule {
		explained, _ := tree.Explain(a, origin)
		if explained.Rule == got.Rule && explained.Outcome == got.Outcome {
			return
		}
	}
	for i := range rules {
		t.Logf("rule %d: %+v", i, rules[i])
	}
	t.Fatalf("%+v (origin %d): got %d rule %d, the model says %d rule %d", a, origin, got.Outcome, got.Rule, want.Outcome, want.Rule)
}

func TestMatchAgreesWithTheModel(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		rules := randomRules(t, random.IntN)
		for range 10 {
			compare(t, rules, randomRequest(random.IntN), Origin(random.IntN(2)))
		}
	}
}

func FuzzMatchAgreesWithTheModel(f *testing.F) {
	f.Add([]byte{3, 1, 0, 2, 1, 4, 0, 7, 7, 7, 7, 7, 7, 2, 1, 1})
	f.Add([]byte("a rule is drawn from these bytes, then a request"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		next := func(n int) int {
			if len(data) == 0 {
				return 0
			}
			b := data[0]
			data = data[1:]
			return int(b) % n
		}
		compare(t, randomRules(t, next), randomRequest(next), Origin(next(2)))
	})
}

// FuzzRequest feeds a table any bytes a request could have.
func FuzzRequest(f *testing.F) {
	rules := randomRules(f, rand.New(rand.NewPCG(7, 7)).IntN)
	tree := NewTable(rules)
	f.Add("a.b.c:80", "/a/b", "GET")
	f.Add("[::1", "", "")
	f.Add(":", "*", "\x00")
	f.Add("..", "/\xff\xfe", "get")
	f.Fuzz(func(t *testing.T, host, path, method string) {
		a := &asked{host: host, path: path, method: method}
		result := tree.Match(a, Outside, nil)
		if explained, _ := tree.Explain(a, Outside); explained.Rule != result.Rule || explained.Outcome != result.Outcome {
			t.Fatalf("Match %+v, Explain %+v", result, explained)
		}
	})
}
