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

// shown walks a YAML file along the schema and collects the keys it writes, as
// "definition.key".
type shown struct {
	root *schema
	keys map[string]bool
}

// properties are the keys of a definition; "" is the file itself.
func (s *shown) properties(def string) map[string]*schema {
	found := s.root
	if def != "" {
		found = s.root.Defs[def]
	}
	for _, option := range found.AnyOf {
		if option.Properties != nil {
			return option.Properties
		}
	}
	return found.Properties
}

// target is the definition that a value, or the items of a list or mapping,
// follow; "" for none.
func target(s *schema) string {
	for s != nil && s.Ref == "" {
		next := s.Items
		if inner, ok := s.Additional.(*schema); ok {
			next = inner
		}
		s = next
	}
	if s == nil {
		return ""
	}
	return strings.TrimPrefix(s.Ref, "#/$defs/")
}

func (s *shown) visit(n *yaml.Node, def string) {
	if n.Kind == yaml.SequenceNode {
		for _, child := range n.Content {
			s.visit(child, def)
		}
	}
	if n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i].Value, n.Content[i+1]
		property := s.properties(def)[key]
		if property == nil {
			s.visit(value, def) // a free key, such as an upstream's name
			continue
		}
		s.keys[def+"."+key] = true
		if next := target(property); next != "" {
			s.visit(value, next)
		}
	}
}

func TestExampleShowsEveryKey(t *testing.T) {
	data, err := parseExample()
	if err != nil {
		t.Fatal(err)
	}
	var node yaml.Node
	if err := yaml.Unmarshal(data, &node); err != nil {
		t.Fatal(err)
	}
	s := shown{root: readSchema(t), keys: map[string]bool{"unit.Source.inline": true}} // a script is written short
	s.visit(node.Content[0], "")
	var missing []string
	for _, def := range append(keysOf(s.root.Defs), "") {
		for key := range s.properties(def) {
			if !s.keys[def+"."+key] {
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
