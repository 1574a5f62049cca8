package config

import (
	"fmt"
	"path/filepath"
	"time"

	"perigee/proxy/script"
)

// Saved is a configuration to be kept elsewhere: the text as it is written, with
// its ${...} not expanded, so that no secret of the environment is in it, and the
// text of every script file. Lua modules that scripts require, certificates and
// files of keys are not in it: they are read from where they are.
type Saved struct {
	// Name is the file's name, Dir the folder that relative paths start at.
	Name string `json:"name"`
	Dir  string `json:"dir"`
	// Digest is File.Digest's at the time.
	Digest string    `json:"digest"`
	At     time.Time `json:"at"`
	Text   string    `json:"text"`
	// Scripts are the script files by path.
	Scripts map[string]string `json:"scripts"`
}

// Save returns f as it would be restored; the time is the caller's to set.
func (f *File) Save() (Saved, error) {
	dir, err := filepath.Abs(f.dir)
	if err != nil {
		return Saved{}, fmt.Errorf("folder of configuration %s: %w", f.name, err)
	}
	s := Saved{Name: f.name, Dir: dir, Digest: f.digest, Text: string(f.text), Scripts: map[string]string{}}
	walk(f.whole(), func(p place) {
		if source, ok := p.value.Interface().(*script.Source); ok && source != nil && source.File != "" && source.Missing == "" {
			if path, err := filepath.Abs(source.Path); err == nil {
				s.Scripts[path] = source.Text
			}
		}
	})
	return s, nil
}

// Restore reads a saved configuration. Scripts come from s alone.
func Restore(s Saved) (*File, error) {
	if s.Scripts == nil {
		s.Scripts = map[string]string{}
	}
	return parseText(&File{name: s.Name, text: []byte(s.Text), dir: s.Dir, kept: s.Scripts})
}

// scriptText is the text of a script file.
func (f *File) scriptText(path string) (string, error) {
	if f.kept == nil {
		return readRegular(path)
	}
	if text, ok := f.kept[path]; ok {
		return text, nil
	}
	return "", fmt.Errorf("the saved configuration does not have it")
}
