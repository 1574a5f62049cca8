package config

import (
	"os"
	"sort"
	"strings"
	"testing"

	"perigee/proxy/unit"

	"go.yaml.in/yaml/v3"
)

func TestExampleLoads(t *testing.T) {
	f, err := Load("perigee.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Listeners[0].Address; got != ":8080" {
		t.Errorf("listeners[0].address %q", got)
	}
	if got := f.Routes[0].Lua.BodyFilter.Text; !strings.Contains(got, "${secret}") {
		t.Errorf("a script was expanded: %q", got)
	}
}

// TestExampleShowsEveryKey compares the keys of the types with the paths that
// the example writes.
func TestExampleShowsEveryKey(t *testing.T) {
	data, err := os.ReadFile("perigee.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var node yaml.Node
	if err := yaml.Unmarshal(data, &node); err != nil {
		t.Fatal(err)
	}
	written := make(map[string]bool)
	var visit func(n *yaml.Node, def string)
	root := readSchema(t)
	// follow walks node and schema together and notes "definition.key".
	follow := func(s *schema) []string {
		var names []string
		var add func(s *schema)
		add = func(s *schema) {
			if s == nil {
				return
			}
			if s.Ref != "" {
				names = append(names, strings.TrimPrefix(s.Ref, "#/$defs/"))
			}
			if inner, ok := s.Additional.(*schema); ok {
				add(inner)
			}
			add(s.Items)
		}
		add(s)
		return names
	}
	properties := func(def string) map[string]*schema {
		s := root
		if def != "" {
			s = root.Defs[def]
		}
		for _, option := range s.AnyOf {
			if option.Properties != nil {
				s = option
			}
		}
		return s.Properties
	}
	visit = func(n *yaml.Node, def string) {
		switch n.Kind {
		case yaml.SequenceNode:
			for _, child := range n.Content {
				visit(child, def)
			}
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				key, value := n.Content[i].Value, n.Content[i+1]
				property := properties(def)[key]
				if property == nil {
					visit(value, def) // a free key, such as an upstream's name
					continue
				}
				written[def+"."+key] = true
				if next := follow(property); len(next) > 0 {
					visit(value, next[0])
				}
			}
		}
	}
	visit(node.Content[0], "")
	var missing []string
	for _, def := range append(keysOf(root.Defs), "") {
		for key := range properties(def) {
			if !written[def+"."+key] && def+"."+key != "script.Source.inline" {
				missing = append(missing, def+"."+key)
			}
		}
	}
	sort.Strings(missing)
	if len(missing) > 0 {
		t.Errorf("the example lacks %s", strings.Join(missing, ", "))
	}
}

func keysOf(m map[string]*schema) []string {
	var keys []string
	for key := range m {
		keys = append(keys, key)
	}
	return keys
}

func TestTemplatesAreVisitedWithTheirPaths(t *testing.T) {
	f, err := Load("perigee.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]string)
	f.Templates(func(path string, value unit.Template) { seen[path] = value.String() })
	for path, want := range map[string]string{
		"variables.tenant": "$http_x_tenant", "routes[0].proxy.host": "$host",
		"routes[0].transform.request.set.X-Tenant": "$tenant", "routes[2].respond.content_type": "text/html",
		"upstreams.bank.host": "endpoint",
	} {
		if seen[path] != want {
			t.Errorf("%s: %q, want %q", path, seen[path], want)
		}
	}
}

func parseExample() ([]byte, error) { return os.ReadFile("perigee.example.yaml") }
