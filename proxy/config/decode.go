package config

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"perigee/proxy/unit"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds the values of one file after aliases are followed, so that
// a few lines of nested aliases cannot fill the memory.
const maxNodes = 1_000_000

// decoder turns YAML nodes into Go values, strictly. It never stops at an
// error: it notes it and goes on with the next value.
type decoder struct {
	expander
	places
	errs  Errors
	nodes int
	full  bool // maxNodes was passed and reported
}

// enumerated is a string type with a fixed set of words.
type enumerated interface{ Values() []string }

// unbuilt is an enumerated type that knows words of later versions.
type unbuilt interface{ Unbuilt() []string }

var positionType = reflect.TypeFor[unit.Position]()

// fail notes an error at node.
func (d *decoder) fail(node *yaml.Node, path, message, hint string) {
	d.errs = append(d.errs, Error{Position: d.positionOf(node), Path: path, Message: message, Hint: hint})
}

// count adds one value and says whether there is room for it.
func (d *decoder) count(node *yaml.Node, path string) bool {
	d.nodes++
	if d.nodes > maxNodes && !d.full {
		d.full = true
		d.fail(node, path, fmt.Sprintf("the file has more than %d values", maxNodes), "use fewer aliases")
	}
	return !d.full
}

// value decodes node into dst, which holds the defaults.
func (d *decoder) value(node *yaml.Node, path string, dst reflect.Value, opts options) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if !d.count(node, path) {
		return
	}
	d.note(path, node)
	if node.Style&yaml.TaggedStyle != 0 {
		d.fail(node, path, fmt.Sprintf("YAML tag %q is not understood", node.Tag), "remove it")
		return
	}
	if scalar, ok := dst.Addr().Interface().(yaml.Unmarshaler); ok {
		d.unit(node, path, scalar)
		return
	}
	empty := node.Kind == yaml.ScalarNode && node.Tag == "!!null"
	switch kind := dst.Kind(); {
	case kind == reflect.Pointer && empty:
		d.fail(node, path, "nothing is written here", "write {} for all defaults, or remove the key")
	case kind == reflect.Pointer:
		fresh := reflect.New(dst.Type().Elem())
		setDefaults(fresh.Elem())
		d.value(node, path, fresh.Elem(), opts)
		dst.Set(fresh)
	case (kind == reflect.Struct || kind == reflect.Map || kind == reflect.Slice) && empty:
		// "routes:" with every entry commented out leaves the defaults.
	case kind == reflect.Struct:
		d.structure(node, path, dst)
	case kind == reflect.Map:
		d.mapping(node, path, dst, opts)
	case kind == reflect.Slice:
		d.list(node, path, dst, opts)
	default:
		d.scalar(node, path, dst, opts)
	}
}

// unit decodes a type of package unit.
func (d *decoder) unit(node *yaml.Node, path string, dst yaml.Unmarshaler) {
	_, template := dst.(*unit.Template)
	switch dst.(type) {
	case *unit.Condition, *unit.Texts:
		template = true // their texts are
	}
	expanded := *node
	if node.Kind == yaml.ScalarNode {
		text, ok := d.expanded(node, path, template)
		if !ok {
			return
		}
		expanded.Value = text
	}
	expanded.Content = make([]*yaml.Node, len(node.Content))
	for i, child := range node.Content {
		if child.Kind == yaml.AliasNode {
			child = child.Alias
		}
		d.note(item(path, i), child)
		text, ok := d.expanded(child, item(path, i), template)
		if !ok {
			return
		}
		fresh := *child
		fresh.Value = text
		expanded.Content[i] = &fresh
	}
	if err := dst.UnmarshalYAML(&expanded); err == nil {
		return
	} else if node.Kind != yaml.SequenceNode {
		d.refuse(node, path, err)
		return
	}
	// A set stops at its first bad item: ask for each alone, to say all of them.
	before := len(d.errs)
	for i, child := range expanded.Content {
		one := reflect.New(reflect.TypeOf(dst).Elem()).Interface().(yaml.Unmarshaler)
		if err := one.UnmarshalYAML(child); err != nil {
			d.refuse(child, item(path, i), err)
		}
	}
	if len(d.errs) == before {
		d.refuse(node, path, dst.UnmarshalYAML(&expanded))
	}
}

// refuse notes what a type of package unit says about its text.
func (d *decoder) refuse(node *yaml.Node, path string, err error) {
	var bad *unit.ValueError
	if !errors.As(err, &bad) {
		d.fail(node, path, err.Error(), "")
		return
	}
	message := bad.Message()
	if bad.Value == "" {
		message = fmt.Sprintf("a %s %s", bad.Kind, bad.Problem)
	}
	message, hint := d.hide(path, message, bad.Fix)
	d.fail(node, path, message, hint)
}

// expanded returns a scalar's text with ${...} replaced and remembers what was
// written when that differs.
func (d *decoder) expanded(node *yaml.Node, path string, template bool) (string, bool) {
	x := d.expand(node.Value, template)
	if x.problem != nil {
		d.fail(node, path, x.problem.message, x.problem.hint)
		return "", false
	}
	if x.changed {
		d.wrote(path, node.Value, x.text)
	}
	return x.text, true
}

// structure decodes a mapping, or a scalar when the struct has a short form.
func (d *decoder) structure(node *yaml.Node, path string, dst reflect.Value) {
	for i := range dst.NumField() {
		if dst.Field(i).Type() == positionType {
			dst.Field(i).Set(reflect.ValueOf(d.positionOf(node)))
		}
	}
	if short, ok := shortField(dst.Type()); ok && node.Kind == yaml.ScalarNode {
		d.value(node, unit.Join(path, short.key), dst.Field(short.index), short.options)
		return
	}
	fields := fieldsOf(dst.Type())
	known := make([]string, len(fields))
	byKey := make(map[string]field, len(fields))
	for i, f := range fields {
		known[i], byKey[f.key] = f.key, f
	}
	for _, entry := range d.entries(node, path) {
		f, ok := byKey[entry.key.Value]
		if !ok {
			hint := "known keys: " + strings.Join(known, ", ")
			if near, found := nearest(entry.key.Value, known); found {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			d.fail(entry.key, entry.path, fmt.Sprintf("unknown key %q", entry.key.Value), hint)
			continue
		}
		d.value(entry.value, entry.path, dst.Field(f.index), f.options)
	}
}

// mapping decodes a mapping with free keys: names, header names, statuses.
func (d *decoder) mapping(node *yaml.Node, path string, dst reflect.Value, opts options) {
	t := dst.Type()
	result := reflect.MakeMap(t)
	for _, entry := range d.entries(node, path) {
		key := reflect.New(t.Key()).Elem()
		if key.Kind() == reflect.Int {
			n, err := strconv.Atoi(entry.key.Value)
			if err != nil {
				d.fail(entry.key, entry.path, fmt.Sprintf("key %q is not a whole number", entry.key.Value), "")
				continue
			}
			key.SetInt(int64(n))
		} else {
			key.SetString(entry.key.Value)
		}
		value := reflect.New(t.Elem()).Elem()
		setDefaults(value)
		d.value(entry.value, entry.path, value, opts)
		result.SetMapIndex(key, value)
	}
	dst.Set(result)
}

// list decodes a sequence.
func (d *decoder) list(node *yaml.Node, path string, dst reflect.Value, opts options) {
	if node.Kind != yaml.SequenceNode {
		hint := "write a list: each item on a line of its own after a dash"
		if node.Kind == yaml.ScalarNode {
			hint = "write [" + strconv.Quote(node.Value) + "]"
		}
		d.fail(node, path, "a list is wanted here, not "+kindOf(node), hint)
		return
	}
	result := reflect.MakeSlice(dst.Type(), len(node.Content), len(node.Content))
	for i, child := range node.Content {
		setDefaults(result.Index(i))
		d.value(child, item(path, i), result.Index(i), opts)
	}
	dst.Set(result)
}

// scalar decodes a string, a number or a truth value.
func (d *decoder) scalar(node *yaml.Node, path string, dst reflect.Value, opts options) {
	if node.Kind != yaml.ScalarNode || node.Tag == "!!null" {
		d.fail(node, path, "a "+wanted(dst.Kind())+" is wanted here, not "+kindOf(node), "")
		return
	}
	text := node.Value
	if !opts.raw {
		var ok bool
		if text, ok = d.expanded(node, path, false); !ok {
			return
		}
	}
	bad := func(message, hint string) {
		message, hint = d.hide(path, message, hint)
		d.fail(node, path, message, hint)
	}
	switch dst.Kind() {
	case reflect.String:
		if words, ok := dst.Interface().(enumerated); ok {
			if message, hint := checkWord(text, words); message != "" {
				bad(message, hint)
				return
			}
		}
		if strings.IndexByte(text, 0) >= 0 && !opts.raw {
			bad(fmt.Sprintf("%q holds a NUL byte", text), "remove it")
			return
		}
		dst.SetString(text)
	case reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			bad(fmt.Sprintf("%q is not a whole number", text), "write digits only")
			return
		}
		dst.SetInt(int64(n))
	case reflect.Bool:
		if text != "true" && text != "false" {
			bad(fmt.Sprintf("%q is neither true nor false", text), "write true or false")
			return
		}
		dst.SetBool(text == "true")
	default:
		panic("BUG: no way to decode " + dst.Type().String())
	}
}

// checkWord says what is wrong with a word of an enumeration; empty for
// nothing.
func checkWord(text string, words enumerated) (message, hint string) {
	known := words.Values()
	for _, word := range known {
		if word == text {
			return "", ""
		}
	}
	hint = "write " + strings.Join(known, ", ")
	if later, ok := words.(unbuilt); ok {
		for _, word := range later.Unbuilt() {
			if word == text {
				return fmt.Sprintf("%q is not built in this version", text), hint
			}
		}
	}
	if near, found := nearest(text, known); found {
		return fmt.Sprintf("%q is not one of %s", text, strings.Join(known, ", ")), fmt.Sprintf("did you mean %q?", near)
	}
	return fmt.Sprintf("%q is not known here", text), hint
}

func wanted(kind reflect.Kind) string {
	switch kind {
	case reflect.Int:
		return "whole number"
	case reflect.Bool:
		return "true or false"
	}
	return "text"
}

// kindOf says what a node is, for "... is wanted here, not ...".
func kindOf(node *yaml.Node) string {
	switch {
	case node.Kind == yaml.MappingNode:
		return "a mapping"
	case node.Kind == yaml.SequenceNode:
		return "a list"
	case node.Tag == "!!null":
		return "nothing"
	}
	return strconv.Quote(node.Value)
}
