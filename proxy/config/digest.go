package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"reflect"
	"slices"

	"perigee/proxy/script"
	"perigee/proxy/unit"

	"go.yaml.in/yaml/v3"
)

// Digest identifies the configuration: equal digests mean equal settings, after
// expansion and defaults, and equal scripts, the content of script files
// and of the Lua modules that they require from lua.path included. It depends
// neither on comments and layout nor on the folder that the configuration is in.
// A module counts as it is when the file is loaded, also where a script requires
// it later. Modules whose names only running scripts know, those of LuaJIT's default path
// and certificates are not part of it. Lower-case hexadecimal SHA-256.
func (f *File) Digest() string { return f.digest }

func (f *File) computeDigest() string {
	sum := sha256.New()
	walk(f.whole(), func(p place) {
		if p.value.Kind() == reflect.Pointer {
			if source, ok := p.value.Interface().(*script.Source); ok {
				hashPair(sum, p.path, source.Text)
			}
			return
		}
		if p.leaf() {
			hashPair(sum, p.path, p.text())
		}
	})
	modules := f.requiredModules()
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		hashPair(sum, "require "+name, modules[name])
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// hashPair adds lengths, so that no two lists of pairs read the same.
func hashPair(sum hash.Hash, path, text string) {
	fmt.Fprintf(sum, "%d:%s=%d:%s\n", len(path), path, len(text), text)
}

// Masked is the configuration as YAML with defaults filled in, for people. A
// value that was expanded shows what was written (${TOKEN}), so that nothing
// from the environment or a secret's file is seen; secrets that are written in
// the file itself are masked, and so are the values of headers that carry
// credentials.
func (f *File) Masked() ([]byte, error) {
	var node yaml.Node
	if err := node.Encode(f); err != nil {
		return nil, fmt.Errorf("dump configuration %s: %w", f.name, err)
	}
	f.mask(&node, "")
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&node); err != nil {
		return nil, fmt.Errorf("dump configuration %s: %w", f.name, err)
	}
	return out.Bytes(), encoder.Close()
}

// mask puts what was written in the place of what it expanded to.
func (f *File) mask(node *yaml.Node, path string) {
	switch node.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			key, value := node.Content[i].Value, node.Content[i+1]
			if value.Kind == yaml.ScalarNode && value.Value != "" && carriesCredentials(key) {
				value.SetString(unit.Mask)
			}
			f.mask(value, unit.Join(path, key))
		}
	case yaml.SequenceNode:
		for i, child := range node.Content {
			f.mask(child, item(path, i))
		}
	case yaml.ScalarNode:
		if w, ok := f.places.written[path]; ok {
			node.SetString(w.text)
		}
	}
}

// carriesCredentials says whether a header of this name is one to hide.
func carriesCredentials(name string) bool {
	for _, header := range [...]string{
		"Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie",
		"X-Api-Key", "Api-Key", "X-Auth-Token",
	} {
		if unit.EqualHeader(name, header) {
			return true
		}
	}
	return false
}
