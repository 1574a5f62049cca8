package config

import (
	_ "embed"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"perigee/proxy/unit"

	"github.com/goccy/go-json"
	"go.yaml.in/yaml/v3"
)

// descriptions holds the comments of the configuration's types and fields, by
// "package.Type" and "package.Type.Field". TestDescriptionsAreTheComments
// writes the file from the sources with -update and fails when it is stale.
//
//go:embed descriptions.json
var descriptions []byte

// schema is the part of JSON Schema (draft 2020-12) that is used here.
type schema struct {
	Dialect     string             `json:"$schema,omitempty"`
	Title       string             `json:"title,omitempty"`
	Description string             `json:"description,omitempty"`
	Ref         string             `json:"$ref,omitempty"`
	Type        any                `json:"type,omitempty"` // a string or a list of strings
	Enum        []any              `json:"enum,omitempty"`
	Pattern     string             `json:"pattern,omitempty"`
	Properties  map[string]*schema `json:"properties,omitempty"`
	// Additional is false for structs, a schema for free keys.
	Additional any                `json:"additionalProperties,omitempty"`
	Items      *schema            `json:"items,omitempty"`
	AnyOf      []*schema          `json:"anyOf,omitempty"`
	Default    any                `json:"default,omitempty"`
	Examples   []string           `json:"examples,omitempty"`
	Defs       map[string]*schema `json:"$defs,omitempty"`
}

// placeholder matches a value that is only known when the file is read.
const placeholder = `\$\{`

// Schema is a JSON Schema of the configuration file, for editors. It is laxer
// than Parse where a schema cannot say what Parse checks.
func Schema() []byte {
	b := schemaBuilder{defs: make(map[string]*schema), words: make(map[string]string)}
	if err := json.Unmarshal(descriptions, &b.words); err != nil {
		panic("BUG: descriptions.json: " + err.Error())
	}
	var f File
	setDefaults(reflect.ValueOf(&f).Elem())
	b.of(reflect.ValueOf(f), options{})
	root := *b.defs["config.File"]
	delete(b.defs, "config.File")
	root.Dialect = "https://json-schema.org/draft/2020-12/schema"
	root.Title = "perigee configuration"
	root.Defs = b.defs
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return append(text, '\n')
}

// schemaBuilder collects one definition per struct type.
type schemaBuilder struct {
	defs  map[string]*schema
	words map[string]string
}

// of makes the schema of a value's type; the value itself gives the defaults.
func (b *schemaBuilder) of(v reflect.Value, opts options) *schema {
	if v.Kind() != reflect.Pointer {
		if s, ok := v.Interface().(shaped); ok {
			return b.shape(s.Shape())
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem()).Elem()
		setDefaults(fresh)
		return b.of(fresh, opts)
	case reflect.Struct:
		return b.structure(v)
	case reflect.Slice:
		return &schema{Type: "array", Items: b.of(freshElem(v.Type()), opts)}
	case reflect.Map:
		return &schema{Type: "object", Additional: b.of(freshElem(v.Type()), opts)}
	case reflect.Int:
		return &schema{AnyOf: []*schema{{Type: "integer"}, {Type: "string", Pattern: placeholder}}}
	case reflect.Bool:
		return &schema{AnyOf: []*schema{{Type: "boolean"}, {Type: "string", Pattern: placeholder}}}
	case reflect.String:
		if words, ok := v.Interface().(enumerated); ok {
			return &schema{AnyOf: []*schema{{Enum: enumValues(words)}, {Type: "string", Pattern: placeholder}}}
		}
		return &schema{Type: []string{"string", "number", "boolean"}}
	}
	panic("BUG: no schema for " + v.Type().String())
}

func freshElem(t reflect.Type) reflect.Value {
	fresh := reflect.New(t.Elem()).Elem()
	setDefaults(fresh)
	return fresh
}

// enumValues lists the words, and as numbers too those that YAML reads as such.
func enumValues(words enumerated) []any {
	var values []any
	for _, word := range words.Values() {
		values = append(values, word)
		if n, err := strconv.ParseFloat(word, 64); err == nil {
			values = append(values, n)
		}
	}
	return values
}

func (b *schemaBuilder) shape(s unit.Shape) *schema {
	pattern := s.Pattern
	if pattern != "" {
		pattern += "|" + placeholder
	}
	if s.Items && len(s.Types) == 1 {
		return &schema{Type: "array", Items: &schema{Type: "string", Pattern: pattern, Examples: s.Examples}}
	}
	if s.Items { // or one of them alone
		return &schema{Type: s.Types, Items: &schema{Type: s.Types[:len(s.Types)-1], Pattern: pattern, Examples: s.Examples}}
	}
	one := &schema{Pattern: pattern, Examples: s.Examples, Type: s.Types}
	if len(s.Types) == 1 {
		one.Type = s.Types[0]
	}
	return one
}

// structure defines the type once and returns a reference to it.
func (b *schemaBuilder) structure(v reflect.Value) *schema {
	t := v.Type()
	name := t.String()
	ref := &schema{Ref: "#/$defs/" + name}
	if b.defs[name] != nil {
		return ref
	}
	object := &schema{Type: "object", Properties: make(map[string]*schema), Additional: false}
	def := object
	if short, ok := shortField(t); ok {
		def = &schema{AnyOf: []*schema{b.of(v.Field(short.index), short.options), object}}
	}
	def.Description = b.words[name]
	b.defs[name] = def
	for _, f := range fieldsOf(t) {
		value := v.Field(f.index)
		property := *b.of(value, f.options)
		property.Description = b.words[name+"."+t.Field(f.index).Name]
		if def := defaultOf(value); def != nil {
			property.Default = def
		}
		object.Properties[f.key] = &property
	}
	return ref
}

// defaultOf is what the value has when its key is not written; nil when that is
// nothing worth showing.
func defaultOf(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice:
		return nil
	}
	if v.IsZero() {
		return nil
	}
	if m, ok := v.Interface().(yaml.Marshaler); ok {
		text, err := m.MarshalYAML()
		if err != nil || strings.TrimSpace(fmt.Sprint(text)) == "" {
			return nil
		}
		return text
	}
	if v.Kind() == reflect.Struct {
		return nil // its fields say theirs
	}
	return v.Interface()
}
