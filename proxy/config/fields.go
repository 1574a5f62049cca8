package config

import (
	"fmt"
	"reflect"
	"sort"
	"strings"

	"perigee/proxy/unit"

	"go.yaml.in/yaml/v3"
)

// field is a struct field as the configuration sees it.
type field struct {
	key     string
	index   int
	options options
}

// options is what a config tag says; see the package comment.
type options struct {
	short, raw, path, pathlist bool
}

// fieldsOf lists the fields of a struct type that have a key, in source order.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || key == "-" {
			continue
		}
		if key == "" {
			panic("BUG: " + t.String() + "." + f.Name + " has no yaml tag")
		}
		fields = append(fields, field{key: key, index: i, options: optionsOf(f.Tag.Get("config"))})
	}
	return fields
}

func optionsOf(tag string) options {
	var o options
	for _, word := range strings.Split(tag, ",") {
		switch word {
		case "":
		case "short":
			o.short = true
		case "raw":
			o.raw = true
		case "path":
			o.path = true
		case "pathlist":
			o.pathlist = true
		default:
			panic("BUG: unknown word in config tag: " + word)
		}
	}
	return o
}

// shortField is the field that a scalar in the place of the struct sets.
func shortField(t reflect.Type) (field, bool) {
	for _, f := range fieldsOf(t) {
		if f.options.short {
			return f, true
		}
	}
	return field{}, false
}

// defaulter is a type with default values.
type defaulter interface{ SetDefaults() }

// setDefaults fills v, a struct, from the inside out, so that a type may
// override what the types of its fields say of themselves. Pointers stay nil:
// what is not written is not there.
func setDefaults(v reflect.Value) {
	if v.Kind() != reflect.Struct {
		return
	}
	if _, scalar := v.Addr().Interface().(yaml.Unmarshaler); scalar {
		return
	}
	for _, f := range fieldsOf(v.Type()) {
		setDefaults(v.Field(f.index))
	}
	if d, ok := v.Addr().Interface().(defaulter); ok {
		d.SetDefaults()
	}
}

// shaped is a scalar type of package unit.
type shaped interface{ Shape() unit.Shape }

// place is a value met by walk.
type place struct {
	path    string
	value   reflect.Value
	options options
}

// leaf says whether the value is a scalar (or a unit type, which is read like
// one) rather than something with places inside.
func (p place) leaf() bool {
	if _, ok := p.value.Interface().(shaped); ok {
		return true
	}
	switch p.value.Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice, reflect.Pointer:
		return false
	}
	return true
}

// text is the canonical text of a leaf, secrets included: for digests only.
func (p place) text() string {
	if secret, ok := p.value.Interface().(unit.Secret); ok {
		return secret.Reveal()
	}
	return fmt.Sprint(p.value.Interface())
}

// walk visits a decoded value and all below it: struct fields in source order,
// map entries by key. nil pointers are not visited.
func walk(p place, visit func(place)) {
	if p.value.Kind() == reflect.Pointer {
		if !p.value.IsNil() {
			visit(p)
			walk(place{p.path, p.value.Elem(), p.options}, visit)
		}
		return
	}
	visit(p)
	if p.leaf() {
		return
	}
	switch p.value.Kind() {
	case reflect.Struct:
		for _, f := range fieldsOf(p.value.Type()) {
			walk(place{unit.Join(p.path, f.key), p.value.Field(f.index), f.options}, visit)
		}
	case reflect.Slice:
		for i := range p.value.Len() {
			walk(place{item(p.path, i), p.value.Index(i), p.options}, visit)
		}
	case reflect.Map:
		keys := p.value.MapKeys()
		sort.Slice(keys, func(i, j int) bool { return fmt.Sprint(keys[i]) < fmt.Sprint(keys[j]) })
		for _, key := range keys {
			walk(place{unit.Join(p.path, fmt.Sprint(key)), p.value.MapIndex(key), p.options}, visit)
		}
	}
}

// item adds an index to the path of a list.
func item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
