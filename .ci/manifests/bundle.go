package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// bundle is one rendered overlay.
type bundle struct {
	name     string
	objects  []object
	problems []string
}

// object is one manifest.
type object map[string]any

func readBundle(path string) (*bundle, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	b := &bundle{name: strings.TrimSuffix(filepath.Base(path), ".yaml")}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		// Not object: what is inside would be decoded as objects too.
		o := map[string]any{}
		switch err := decoder.Decode(&o); {
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		b.objects = append(b.objects, o)
	}
}

func (b *bundle) problem(o object, format string, args ...any) {
	b.problems = append(b.problems, fmt.Sprintf("%s/%s: ", o.kind(), o.name())+fmt.Sprintf(format, args...))
}

// of are the objects of a kind.
func (b *bundle) of(kind string) (found []object) {
	for _, o := range b.objects {
		if o.kind() == kind {
			found = append(found, o)
		}
	}
	return found
}

// named is the object of that kind and name, nil without one.
func (b *bundle) named(kind, name string) object {
	for _, o := range b.of(kind) {
		if o.name() == name {
			return o
		}
	}
	return nil
}

func (o object) kind() string { return o.text("kind") }
func (o object) name() string { return o.text("metadata", "name") }

// at is the value behind keys, nil where there is none.
func (o object) at(keys ...string) any {
	var v any = map[string]any(o)
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}

func (o object) text(keys ...string) string {
	s, _ := o.at(keys...).(string)
	return s
}

func (o object) number(keys ...string) (int, bool) {
	n, ok := o.at(keys...).(int)
	return n, ok
}

func (o object) object(keys ...string) object {
	m, _ := o.at(keys...).(map[string]any)
	return m
}

// list are the objects of a list.
func (o object) list(keys ...string) (found []object) {
	items, _ := o.at(keys...).([]any)
	for _, item := range items {
		if m, ok := item.(map[string]any); ok {
			found = append(found, m)
		}
	}
	return found
}

// selects tells whether a selector's labels are all among labels.
func selects(selector, labels object) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return len(selector) > 0
}

// isGateway tells a workload of perigee from others by its image.
func isGateway(o object) bool {
	for _, c := range o.list("spec", "template", "spec", "containers") {
		if strings.Contains(c.text("image"), "/perigee:") {
			return true
		}
	}
	return false
}

// unpack writes what gateways find in /etc/perigee, and the alerts.
func (b *bundle) unpack(dir string) error {
	for _, d := range b.of("Deployment") {
		if !isGateway(d) {
			continue
		}
		for path, text := range b.mounted(d) {
			path = filepath.Join(dir, d.name(), path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				return err
			}
		}
	}
	for _, r := range b.of("PrometheusRule") {
		text, err := yaml.Marshal(map[string]any{"groups": r.at("spec", "groups")})
		if err != nil {
			return err
		}
		if err := os.WriteFile(dir+".rules.yaml", text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// mounted are the files of ConfigMaps that a workload mounts.
func (b *bundle) mounted(d object) map[string]string {
	files := map[string]string{}
	for _, v := range d.list("spec", "template", "spec", "volumes") {
		sources := v.list("projected", "sources")
		if c := v.object("configMap"); c != nil {
			sources = append(sources, object{"configMap": map[string]any(c)})
		}
		for _, s := range sources {
			c := s.object("configMap")
			if c == nil {
				continue
			}
			m := b.named("ConfigMap", c.text("name"))
			if m == nil {
				b.problem(d, "mounts ConfigMap %q, which is not in the bundle", c.text("name"))
				continue
			}
			items := c.list("items")
			for key := range m.object("data") {
				if len(items) == 0 {
					files[key] = m.text("data", key)
				}
			}
			for _, item := range items {
				files[item.text("path")] = m.text("data", item.text("key"))
			}
		}
	}
	return files
}
