package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"perigee/proxy/script"
	"perigee/proxy/unit"

	"go.yaml.in/yaml/v3"
)

// Load reads, expands and checks the configuration at path. The error is of
// type Errors and says all that is wrong.
func Load(path string) (*File, error) {
	data, err := readRegular(path)
	if err != nil {
		return nil, Errors{{
			Position: unit.Position{File: path},
			Message:  fmt.Sprintf("cannot be read: %v", reason(err)), Hint: "give the path of a readable YAML file",
		}}
	}
	return Parse(path, []byte(data), filepath.Dir(path))
}

// Parse is Load for a text that is in memory. name stands in errors; relative
// paths start at dir. Scripts, certificates and ${file:...} are still read from
// the disk.
func Parse(name string, data []byte, dir string) (*File, error) {
	return parseText(&File{name: name, text: data, dir: dir})
}

// parseText reads the text that f holds.
func parseText(f *File) (*File, error) {
	name, dir := f.name, f.dir
	root, err := document(name, f.text)
	if err != nil {
		return nil, err
	}
	v := reflect.ValueOf(f).Elem()
	setDefaults(v)
	d := &decoder{expander: expander{dir: dir}, places: newPlaces(name)}
	if root != nil {
		d.value(root, "", v, options{})
	}
	f.places = d.places
	f.root = absolute(dir, f.Prefix)
	c := &checker{File: f, errs: d.errs, before: len(d.errs)}
	c.readScripts()
	f.digest = f.computeDigest()
	f.joinPaths()
	c.check()
	if len(c.errs) > 0 {
		return nil, c.errs.sorted()
	}
	return f, nil
}

// document parses data, which must hold one YAML document; nil when it is
// empty.
func document(name string, data []byte) (*yaml.Node, error) {
	var first, second yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&first); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, syntaxErrors(name, data, err)
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		return nil, Errors{{
			Position: unit.Position{File: name, Line: second.Line, Column: second.Column},
			Message:  "a second YAML document starts here", Hint: "remove the line with ---: one file is one configuration",
		}}
	case !errors.Is(err, io.EOF):
		return nil, syntaxErrors(name, data, err)
	}
	if len(first.Content) == 0 {
		return nil, nil
	}
	return first.Content[0], nil
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntaxErrors gives the YAML parser's error, which knows the line at most, a
// position: the first character of that line.
func syntaxErrors(name string, data []byte, err error) Errors {
	text := err.Error()
	at := unit.Position{File: name, Line: 1, Column: 1}
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		text = text[len(m[0]):]
		if n, err := strconv.Atoi(m[1]); err == nil && n > 0 {
			at.Line = n
			if lines := strings.Split(string(data), "\n"); n <= len(lines) {
				at.Column = 1 + len(lines[n-1]) - len(strings.TrimLeft(lines[n-1], " \t"))
			}
		}
	}
	hint := ""
	switch {
	case strings.Contains(text, "found character that cannot start any token"):
		hint = "YAML is indented by blanks, not tabs; quote a text that starts with @, `, % or a tab"
	case strings.Contains(text, "mapping values are not allowed"):
		hint = "check the indentation, and quote a text that holds a colon and a blank"
	case strings.Contains(text, "did not find expected"):
		hint = "check brackets, quotes and indentation around here"
	}
	return Errors{{Position: at, Message: "YAML: " + text, Hint: hint}}
}

// Name is the file's name as it was given to Load or Parse.
func (f *File) Name() string { return f.name }

// Root is the folder where relative paths start: Prefix joined to the folder
// of the configuration file.
func (f *File) Root() string { return f.root }

// Position says where the value at path ("routes[2].lua.access") is written,
// or the nearest value around it. For errors that are found after loading.
func (f *File) Position(path string) unit.Position { return f.places.at(path) }

// NewError makes an Error about the value at path, for checks that can only be
// made by others (a script's syntax, a port in use). Values that came out of
// the environment or a file are hidden in the message.
func (f *File) NewError(path, message, hint string) Error {
	message, hint = f.places.hide(path, message, hint)
	return Error{Position: f.places.at(path), Path: path, Message: message, Hint: hint}
}

// absolute joins a relative path to dir.
func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// readScripts fills the Text of every script.
func (c *checker) readScripts() {
	walk(c.whole(), func(p place) {
		source, ok := p.value.Interface().(*script.Source)
		if !ok {
			return
		}
		source.Text = source.Inline
		if source.File == "" {
			return
		}
		source.Path = absolute(c.root, source.File)
		text, err := c.scriptText(source.Path)
		if err != nil && c.Lua.BrokenScripts == script.AnswerBroken && (strings.HasPrefix(p.path, "routes") || p.path == "lua.init_worker") {
			source.Missing = fmt.Sprintf("script %q cannot be read: %v", source.File, reason(err))
			return
		}
		if err != nil {
			c.report(p.path+".file", fmt.Sprintf("script %q cannot be read: %v", source.File, reason(err)), "paths start at "+strconv.Quote(c.root))
			return
		}
		source.Text = text
	})
}

// joinPaths makes the file paths of the configuration independent of the
// working directory.
func (f *File) joinPaths() {
	walk(f.whole(), func(p place) {
		if p.value.Kind() != reflect.String || !p.value.CanSet() {
			return
		}
		text := p.value.String()
		switch {
		case p.options.path && text != "" && text != "-":
			p.value.SetString(absolute(f.root, text))
		case p.options.pathlist:
			parts := strings.Split(text, ";")
			for i, part := range parts {
				if part != "" {
					parts[i] = absolute(f.root, part)
				}
			}
			p.value.SetString(strings.Join(parts, ";"))
		}
	})
}

// whole is the place that walk starts at.
func (f *File) whole() place { return place{value: reflect.ValueOf(f).Elem()} }
