package route

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"perigee/proxy/unit"
)

// asked is a request written down in a test.
type asked struct {
	listener           string
	host, path, method string
	headers, query     map[string]string
}

func (a *asked) Listener() string { return a.listener }
func (a *asked) Host() []byte     { return []byte(a.host) }
func (a *asked) Path() []byte     { return []byte(a.path) }
func (a *asked) Method() []byte   { return []byte(a.method) }

func (a *asked) Header(name string) ([]byte, bool) {
	for key, value := range a.headers {
		if strings.EqualFold(key, name) {
			return []byte(value), true
		}
	}
	return nil, false
}

func (a *asked) Query(name string) ([]byte, bool) {
	value, ok := a.query[name]
	return []byte(value), ok
}

// ask reads "METHOD host/path header:X=a ?y=b"; the method may be left out.
func ask(text string) *asked {
	a := &asked{method: "GET", headers: map[string]string{}, query: map[string]string{}}
	for i, word := range strings.Fields(text) {
		switch {
		case strings.HasPrefix(word, "header:"):
			name, value, _ := strings.Cut(word[len("header:"):], "=")
			a.headers[name] = value
		case strings.HasPrefix(word, "?"):
			name, value, _ := strings.Cut(word[1:], "=")
			a.query[name] = value
		case i == 0 && !strings.Contains(word, "/"):
			a.method = word
		default:
			host, path, _ := strings.Cut(word, "/")
			a.host, a.path = host, "/"+path
		}
	}
	return a
}

// rule makes a rule from words: a host is written @host, a method in capitals,
// header:X=pattern, ?arg=pattern, priority:n, internal; the rest are paths, in
// which "_" stands for the blank after a modifier.
func rule(t testing.TB, name, text string) Rule {
	t.Helper()
	r := Rule{Name: name}
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	predicate := func(text string) Predicate {
		name, value, _ := strings.Cut(text, "=")
		v, err := unit.ParseValuePattern(strings.ReplaceAll(value, "_", " "))
		must(err)
		return Predicate{name, v}
	}
	for _, word := range strings.Fields(text) {
		switch {
		case word == "internal":
			r.Internal = true
		case strings.HasPrefix(word, "priority:"):
			_, err := fmt.Sscanf(word, "priority:%d", &r.Priority)
			must(err)
		case strings.HasPrefix(word, "header:"):
			r.Headers = append(r.Headers, predicate(word[len("header:"):]))
		case strings.HasPrefix(word, "?"):
			r.Query = append(r.Query, predicate(word[1:]))
		case strings.HasPrefix(word, "@"):
			h, err := unit.ParseHostPattern(strings.ReplaceAll(word[1:], "_", " "))
			must(err)
			r.Hosts = append(r.Hosts, h)
		case strings.ToUpper(word) == word && strings.Trim(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "":
			r.Methods = append(r.Methods, word)
		default:
			p, err := unit.ParsePattern(strings.ReplaceAll(word, "_", " "))
			must(err)
			r.Paths = append(r.Paths, p)
		}
	}
	return r
}

func table(t testing.TB, rules ...string) *Table {
	t.Helper()
	list := make([]Rule, len(rules))
	for i, text := range rules {
		name, rest, _ := strings.Cut(text, ":: ")
		list[i] = rule(t, name, rest)
	}
	return NewTable(list)
}

// show writes a result as the test tables do: the rule's name, or the outcome.
func show(t *Table, r Result) string {
	switch r.Outcome {
	case Found:
		return t.rules[r.Rule].Name
	case Internal:
		return "internal " + t.rules[r.Rule].Name
	case WrongMethod:
		return "wrong method"
	}
	return "none"
}

func TestPathOrderIsNginxLocationOrder(t *testing.T) {
	// The example of nginx's documentation of location, then corners of it.
	nginx := table(t, "A:: =_/", "B:: /", "C:: /documents/", "D:: ^~_/images/", `E:: ~*_\.(gif|jpg|jpeg)$`)
	corners := table(t,
		"exact:: =_/a/b", "short:: /a", "long:: /a/b", "final:: ^~_/a/b/c", "deeper:: /a/b/c/d",
		`first:: ~_\.x$`, `second:: ~_\.(x|y)$`, `fold:: ~*_^/FOLD`)
	for _, test := range []struct {
		name, request, want string
		table               *Table
	}{
		{"nginx: exact root", "h/", "A", nginx},
		{"nginx: prefix root", "h/index.html", "B", nginx},
		{"nginx: longer prefix", "h/documents/document.html", "C", nginx},
		{"nginx: final prefix", "h/images/1.gif", "D", nginx},
		{"nginx: expression beats prefix", "h/documents/1.jpg", "E", nginx},
		{"nginx: expression folds case", "h/documents/1.JPG", "E", nginx},
		{"exact beats prefix of the same text", "h/a/b", "exact", corners},
		{"the longest prefix", "h/a/bc", "long", corners},
		{"a prefix need not end at a slash", "h/ab", "short", corners},
		{"first expression in file order", "h/a/q.x", "first", corners},
		{"second expression", "h/a/q.y", "second", corners},
		{"final prefix stops expressions", "h/a/b/c/q.x", "final", corners},
		{"a longer prefix takes the final one's place, so expressions are asked", "h/a/b/c/d/q.x", "first", corners},
		{"longer prefix without expressions", "h/a/b/c/d", "deeper", corners},
		{"fold", "h/fold/1", "fold", corners},
		{"nothing", "h/zzz", "none", corners},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := show(test.table, test.table.Match(ask(test.request), Outside, nil)); got != test.want {
				t.Errorf("%s: got %s, want %s", test.request, got, test.want)
			}
		})
	}
}

func TestHostOrder(t *testing.T) {
	hosts := table(t,
		"any:: /", "regex1:: @~_^[a-z]+\\.example\\.com$ /", "regex2:: @~_example /",
		"wild:: @*.example.com /", "longwild:: @*.a.example.com /", "exact:: @www.a.example.com /",
		"onlypath:: @only.example.org /x", "v6:: @[::1] /")
	for _, test := range []struct{ name, request, want string }{
		{"exact", "www.a.example.com/", "exact"},
		{"case and port do not matter", "WWW.A.Example.com:8080/", "exact"},
		{"a final dot does not matter", "www.a.example.com./", "exact"},
		{"longest wildcard", "b.a.example.com/", "longwild"},
		{"wildcard takes several labels", "x.y.a.example.com/", "longwild"},
		{"shorter wildcard", "a.example.com/", "wild"},
		{"wildcard does not take the bare domain", "example.com/", "regex2"},
		{"expression in file order", "example.net/", "regex2"},
		{"default", "other/", "any"},
		{"no host at all", "/", "any"},
		{"no rule of the exact host fits, so the default serves", "only.example.org/y", "regex2"},
		{"rule of the exact host", "only.example.org/x", "onlypath"},
		{"address in brackets with port", "[::1]:80/", "v6"},
		{"address in brackets", "[::1]/", "v6"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := show(hosts, hosts.Match(ask(test.request), Outside, nil)); got != test.want {
				t.Errorf("%s: got %s, want %s", test.request, got, test.want)
			}
		})
	}
}

func TestPredicatesPriorityAndInternal(t *testing.T) {
	rules := table(t,
		"tenant:: /api header:X-Tenant=acme", "versioned:: /api ?v=~_^2", "writes:: /api POST PUT", "reads:: /api GET",
		"deep:: /api/deep DELETE", "finalpost:: ^~_/api/final POST", `php:: ~_\.php$`,
		"hidden:: =_/hidden internal", "all:: /hid", "urgent:: @*.example.com /now priority:10", "now:: @now.example.com =_/now",
		"last:: priority:-1", "anonymous:: /who header:Cookie=!", "known:: /who header:Cookie=*")
	for _, test := range []struct {
		name, request string
		origin        Origin
		want          string
	}{
		{"header", "h/api header:x-tenant=acme", Outside, "tenant"},
		{"header of another value, method", "POST h/api header:x-tenant=other", Outside, "writes"},
		{"query expression", "h/api ?v=21", Outside, "versioned"},
		{"GET includes HEAD", "HEAD h/api", Outside, "reads"},
		{"the next shorter prefix serves another method", "GET h/api/deep", Outside, "reads"},
		{"a final prefix that does not fit stops nothing", "GET h/api/final/x.php", Outside, "php"},
		{"a final prefix that fits", "POST h/api/final/x.php", Outside, "finalpost"},
		{"internal hides what is below", "h/hidden", Outside, "internal hidden"},
		{"internal from inside", "h/hidden", Inside, "hidden"},
		{"priority goes before host and path", "now.example.com/now", Outside, "urgent"},
		{"lowest priority takes the rest", "h/nothing", Outside, "last"},
		{"absent header", "h/who", Outside, "anonymous"},
		{"present header", "h/who header:Cookie=", Outside, "known"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := show(rules, rules.Match(ask(test.request), test.origin, nil)); got != test.want {
				t.Errorf("%s: got %s, want %s", test.request, got, test.want)
			}
		})
	}
}

func TestWrongMethod(t *testing.T) {
	rules := table(t, "a:: /a GET", "b:: /a POST", "c:: =_/secret DELETE internal", "d:: /h PUT header:X=1")
	for _, test := range []struct {
		name, request, want string
		allowed             []string
	}{
		{"methods of all rules", "DELETE h/a", "wrong method", []string{"GET", "HEAD", "POST"}},
		{"an internal rule's methods are not told", "GET h/secret", "none", nil},
		{"a rule that fails otherwise does not count", "GET h/h", "none", nil},
		{"nor is it a 404 when only the method is wrong", "GET h/h header:X=1", "wrong method", []string{"PUT"}},
		{"no path", "GET h/", "none", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := show(rules, rules.Match(ask(test.request), Outside, nil))
			if allowed := rules.Allowed(ask(test.request), Outside); got != test.want || !reflect.DeepEqual(allowed, test.allowed) {
				t.Errorf("%s: got %s %v, want %s %v", test.request, got, allowed, test.want, test.allowed)
			}
		})
	}
}

func TestCapturesGoToTheCallersSlice(t *testing.T) {
	rules := table(t, `a:: ~_^/u/([a-z]+)/(x)?([0-9]+)$`, "b:: ~_^/plain", "c:: /")
	memory := make([]int, 0, 20)
	r := rules.Match(ask("h/u/bob/42"), Outside, memory)
	if want := []int{0, 9, 3, 6, -1, -1, 7, 9}; !reflect.DeepEqual(r.Captures, want) {
		t.Errorf("captures %v, want %v", r.Captures, want)
	}
	if &r.Captures[0] != &memory[:1][0] {
		t.Error("captures are not in the caller's memory")
	}
	for _, path := range []string{"h/plain", "h/c"} {
		if r := rules.Match(ask(path), Outside, memory); len(r.Captures) != 0 || r.Outcome != Found {
			t.Errorf("%s: %+v", path, r)
		}
	}
}

func TestByName(t *testing.T) {
	rules := table(t, "a:: /a", "b:: /b internal", "a:: /c")
	if i, ok := rules.ByName("b"); !ok || i != 1 {
		t.Errorf("b: %d %v", i, ok)
	}
	if i, ok := rules.ByName("a"); !ok || i != 0 {
		t.Errorf("a: %d %v", i, ok)
	}
	if _, ok := rules.ByName("z"); ok || rules.Len() != 3 {
		t.Error("z is there, or the length is wrong")
	}
	if r := NewTable(nil).Match(ask("h/"), Outside, nil); r.Outcome != NotFound || r.Rule != -1 {
		t.Errorf("empty table: %+v", r)
	}
}

func TestExplainSaysWhyEachCandidateWonOrLost(t *testing.T) {
	rules := table(t,
		"exact:: @*.example.com =_/a POST", "prefix:: @*.example.com /a", "other:: @*.example.com ~_^/b", "regex:: @*.example.com ~_^/a$ header:X=!",
		"default:: priority:-1", "in:: =_/in internal")
	for _, test := range []struct{ request, want string }{
		{"w.example.com/a", `
exact [*.example.com] [= /a] lost: method GET is not one of POST
other [*.example.com] [~ ^/b] lost: expression does not match the path
prefix [*.example.com] [/a] lost: longest prefix, but a regular expression goes before it
regex [*.example.com] [~ ^/a$] won: first expression that matches`},
		{"POST w.example.com/a", `
exact [*.example.com] [= /a] won: exact path`},
		{"w.example.com/a header:X=1", `
exact [*.example.com] [= /a] lost: method GET is not one of POST
other [*.example.com] [~ ^/b] lost: expression does not match the path
regex [*.example.com] [~ ^/a$] lost: header X must be "!", but it is "1"
prefix [*.example.com] [/a] won: longest prefix, and no expression fits`},
		{"h/z", `
default [] [] won: no path is asked for, and no prefix or expression fits`},
		{"h/in", `
in [] [= /in] won: exact path; but it is internal, so a client gets 404`},
	} {
		result, steps := rules.Explain(ask(test.request), Outside)
		got := ""
		for _, s := range steps {
			verb := "lost"
			if s.Won {
				verb = "won"
			}
			got += fmt.Sprintf("\n%s [%s] [%s] %s: %s", s.Name, s.Host, s.Path, verb, s.Reason)
		}
		if got != test.want {
			t.Errorf("%s:%s\nwant:%s", test.request, got, test.want)
		}
		if again := rules.Match(ask(test.request), Outside, nil); again.Rule != result.Rule || again.Outcome != result.Outcome {
			t.Errorf("%s: Explain says %+v, Match %+v", test.request, result, again)
		}
	}
}
