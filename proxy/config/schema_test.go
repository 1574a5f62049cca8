package config

import (
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write golden files instead of comparing with them")

// comments reads the comments of all types and fields of a package's sources.
func comments(t *testing.T, dir string, into map[string]string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			types, ok := decl.(*ast.GenDecl)
			if !ok || types.Tok != token.TYPE {
				continue
			}
			for _, spec := range types.Specs {
				one := spec.(*ast.TypeSpec)
				structure, ok := one.Type.(*ast.StructType)
				if !ok {
					continue
				}
				key := file.Name.Name + "." + one.Name.Name
				into[key] = flat(types.Doc)
				for _, field := range structure.Fields.List {
					for _, name := range field.Names {
						into[key+"."+name.Name] = flat(field.Doc)
					}
				}
			}
		}
	}
}

func flat(doc *ast.CommentGroup) string {
	return strings.Join(strings.Fields(doc.Text()), " ")
}

// described lists the struct types of the configuration with their fields.
func described(t reflect.Type, into map[string]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		described(t.Elem(), into)
		return
	case reflect.Struct:
	default:
		return
	}
	if _, scalar := reflect.Zero(t).Interface().(shaped); scalar || into[t.String()] {
		return
	}
	into[t.String()] = true
	for _, f := range fieldsOf(t) {
		into[t.String()+"."+t.Field(f.index).Name] = true
		described(t.Field(f.index).Type, into)
	}
}

func TestDescriptionsAreTheComments(t *testing.T) {
	all := make(map[string]string)
	for _, dir := range []string{".", "../auth", "../compress", "../ip", "../limit", "../mapping", "../respond", "../rewrite", "../script", "../static", "../trace", "../transform", "../unit", "../upstream"} {
		comments(t, dir, all)
	}
	wanted := make(map[string]bool)
	described(reflect.TypeFor[File](), wanted)
	want := make(map[string]string, len(wanted))
	for key := range wanted {
		if want[key] = all[key]; want[key] == "" {
			t.Errorf("%s has no comment: it is the manual of its key", key)
		}
	}
	text, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, '\n')
	if *update {
		if err := os.WriteFile("descriptions.json", text, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(text) != string(descriptions) {
		t.Error("descriptions.json is stale: run go test -tags luajit ./proxy/config -run Descriptions -update")
	}
}

// conforms is as much of a JSON Schema validator as Schema uses.
func conforms(t *testing.T, root, s *schema, value any, path string) bool {
	if s.Ref != "" {
		return conforms(t, root, root.Defs[strings.TrimPrefix(s.Ref, "#/$defs/")], value, path)
	}
	if len(s.AnyOf) > 0 {
		for _, option := range s.AnyOf {
			if conforms(t, root, option, value, path) {
				return true
			}
		}
		return false
	}
	if s.Enum != nil {
		for _, word := range s.Enum {
			if reflect.DeepEqual(word, value) {
				return true
			}
		}
		return false
	}
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			next := s.Properties[key]
			if next == nil {
				next, _ = s.Additional.(*schema)
			}
			if next == nil || !conforms(t, root, next, inner, path+"."+key) {
				t.Logf("%s.%s does not conform", path, key)
				return false
			}
		}
		return hasType(s, "object")
	case []any:
		for _, inner := range v {
			if s.Items == nil || !conforms(t, root, s.Items, inner, path+"[]") {
				return false
			}
		}
		return hasType(s, "array")
	case string:
		return hasType(s, "string") && (s.Pattern == "" || regexp.MustCompile(s.Pattern).MatchString(v))
	case bool:
		return hasType(s, "boolean")
	case float64:
		return hasType(s, "number") || hasType(s, "integer") && v == float64(int64(v))
	}
	return false
}

func hasType(s *schema, name string) bool {
	switch types := s.Type.(type) {
	case string:
		return types == name
	case []any:
		for _, one := range types {
			if one == name {
				return true
			}
		}
	}
	return false
}

// readSchema parses Schema's own output, with additionalProperties as a schema
// where it is one.
func readSchema(t *testing.T) *schema {
	t.Helper()
	var root schema
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	var fix func(s *schema)
	fix = func(s *schema) {
		if s == nil {
			return
		}
		if raw, ok := s.Additional.(map[string]any); ok {
			text, _ := json.Marshal(raw)
			var inner schema
			if err := json.Unmarshal(text, &inner); err != nil {
				t.Fatal(err)
			}
			s.Additional = &inner
			fix(&inner)
		}
		fix(s.Items)
		for _, inner := range s.AnyOf {
			fix(inner)
		}
		for _, inner := range s.Properties {
			fix(inner)
		}
		for _, inner := range s.Defs {
			fix(inner)
		}
	}
	fix(&root)
	return &root
}

// asJSON turns YAML into what a JSON Schema validator of an editor sees.
func asJSON(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	var plain func(v any) any
	plain = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			for key, inner := range v {
				v[key] = plain(inner)
			}
			return v
		case map[any]any:
			out := make(map[string]any)
			for key, inner := range v {
				text, _ := yaml.Marshal(key)
				out[strings.TrimSpace(string(text))] = plain(inner)
			}
			return out
		case []any:
			for i := range v {
				v[i] = plain(v[i])
			}
			return v
		case int:
			return float64(v)
		}
		return v
	}
	return plain(value)
}

func TestSchemaAcceptsTheExampleAndRefusesUnknownKeys(t *testing.T) {
	root := readSchema(t)
	example, err := os.ReadFile("perigee.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !conforms(t, root, root, asJSON(t, string(example)), "") {
		t.Error("the example does not conform to the schema")
	}
	for name, text := range map[string]string{
		"unknown key":    "listenres: []",
		"unknown word":   "log: {level: loud}",
		"wrong type":     "routes: {a: b}",
		"bad size":       "limits: {body_bytes: 10MB}",
		"bad driver":     `listeners: [{address: ":1", driver: loops}]`,
		"bad path":       "routes: [{name: a, match: {paths: [a]}}]",
		"deep unknown":   "upstreams: {a: {endpoints: [{addres: b}]}}",
		"number as bool": "upstreams: {a: {tls: {verify: 1}}}",
	} {
		if conforms(t, root, root, asJSON(t, text), "") {
			t.Errorf("%s: %s conforms", name, text)
		}
	}
	for name, text := range map[string]string{
		"environment":  `limits: {connections: "${N}", body_bytes: "${B:-1MiB}"}`,
		"short forms":  "upstreams: {a: {endpoints: [a:1], retry: {on: [502]}}}\nroutes: [{name: a, lua: {content: 'x'}}]",
		"long forms":   "upstreams: {a: {endpoints: [{address: a:1, weight: 2}]}}\nroutes: [{name: a, lua: {content: {file: x}}}]",
		"tls versions": `listeners: [{address: ":1", tls: {min_version: 1.3}}]`,
	} {
		if !conforms(t, root, root, asJSON(t, text), "") {
			t.Errorf("%s: %s does not conform", name, text)
		}
	}
}

func TestSchemaShowsDefaultsAndDescriptions(t *testing.T) {
	root := readSchema(t)
	limits := root.Defs["config.Limits"].Properties
	if got := limits["header_bytes"].Default; got != "16KiB" {
		t.Errorf("header_bytes: default %v", got)
	}
	if !strings.Contains(limits["header_bytes"].Description, "431") {
		t.Errorf("header_bytes: %q", limits["header_bytes"].Description)
	}
	if got := root.Defs["upstream.Config"].Properties["host"].Default; got != "pass" {
		t.Errorf("host: default %v", got)
	}
}
