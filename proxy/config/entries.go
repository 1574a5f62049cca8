package config

import (
	"fmt"

	"perigee/proxy/unit"

	"go.yaml.in/yaml/v3"
)

// entry is a key of a mapping with its value.
type entry struct {
	key, value *yaml.Node
	path       string
}

// entries lists the keys of a mapping in file order, those of merged mappings
// ("<<: *defaults") after its own. A key that is there twice, and a node that
// is no mapping, are errors.
func (d *decoder) entries(node *yaml.Node, path string) []entry {
	if node.Kind != yaml.MappingNode {
		d.fail(node, path, "a mapping is wanted here, not "+kindOf(node), "write key: value pairs")
		return nil
	}
	m := merger{decoder: d, path: path, first: make(map[string]*yaml.Node)}
	m.own(node)
	m.merged(node, 0)
	return m.entries
}

// maxMerge bounds how deep merged mappings merge others: an anchor can be
// inside what it names.
const maxMerge = 16

// merger collects the entries of one mapping.
type merger struct {
	*decoder
	path    string
	first   map[string]*yaml.Node
	entries []entry
}

// own collects the keys written in node itself.
func (m *merger) own(node *yaml.Node) {
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Tag == "!!merge" {
			continue
		}
		if key.Kind != yaml.ScalarNode {
			m.fail(key, m.path, "a key is "+kindOf(key), "write keys as plain words")
			continue
		}
		path := unit.Join(m.path, key.Value)
		if first := m.first[key.Value]; first != nil {
			m.fail(node.Content[i], path, fmt.Sprintf("key %q is here twice", key.Value), fmt.Sprintf("the first is in line %d", first.Line))
			continue
		}
		m.first[key.Value] = key
		m.entries = append(m.entries, entry{node.Content[i], node.Content[i+1], path})
		m.entries[len(m.entries)-1].key = key
	}
}

// merged collects the keys that come from "<<"; those that are there already
// stay.
func (m *merger) merged(node *yaml.Node, depth int) {
	if depth > maxMerge {
		m.fail(node, m.path, "merged mappings are nested too deep", "an anchor may not merge itself")
		return
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if !m.count(node, m.path) {
			return
		}
		if node.Content[i].Tag != "!!merge" {
			continue
		}
		value := node.Content[i+1]
		sources := []*yaml.Node{value}
		if value.Kind == yaml.SequenceNode {
			sources = value.Content
		}
		for _, source := range sources {
			if source.Kind == yaml.AliasNode {
				source = source.Alias
			}
			if source.Kind != yaml.MappingNode {
				m.fail(source, m.path, "<< merges a mapping, not "+kindOf(source), "write <<: *name")
				continue
			}
			m.absorb(source)
			m.merged(source, depth+1)
		}
	}
}

func (m *merger) absorb(source *yaml.Node) {
	for i := 0; i+1 < len(source.Content); i += 2 {
		key := source.Content[i]
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" || m.first[key.Value] != nil {
			continue
		}
		m.first[key.Value] = key
		m.entries = append(m.entries, entry{key, source.Content[i+1], unit.Join(m.path, key.Value)})
	}
}
