package unit

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Source is a piece of Lua: a text written in the configuration, or
// {file: ...}.
type Source struct {
	// Inline is the Lua text itself. Nothing in it is expanded when the file is
	// read: ${NAME} and $$ stay as they are, because both mean something in Lua
	// patterns and strings. Use os.getenv, or ngx.var for a variable.
	Inline string `yaml:"inline,omitempty" config:"short,raw"`
	// File is the path of a Lua file, relative to prefix.
	File string `yaml:"file,omitempty" config:"path"`
	// Name replaces the position or path in error messages and metrics.
	Name string `yaml:"name,omitempty"`

	// Position is where the script stands in the configuration: the line of its
	// key for a block text.
	Position Position `yaml:"-"`
	// Path is where File is, for whoever reads it again.
	Path string `yaml:"-"`
	// Text is the Lua source, read from File when that is set. The loader fills
	// it in, so that one configuration means one set of scripts even when files
	// change afterwards.
	Text string `yaml:"-"`
	// Missing says why File could not be read, where that is no reason to refuse
	// the configuration.
	Missing string `yaml:"-"`
}

// ChunkName is the name the script is compiled under, for Lua's load: "@path"
// for a file, "=name" for a named script, and otherwise "=stage(file:line)" as
// nginx does for directives. stage is the nginx-like name of the step
// ("access", "init_worker").
func (s *Source) ChunkName(stage string) string {
	switch {
	case s.Name != "":
		return "=" + s.Name
	case s.File != "":
		return "@" + s.File
	}
	return fmt.Sprintf("=%s(%s:%d)", stage, filepath.Base(s.Position.File), s.Position.Line)
}

// Check reports a script that says both or neither; path is where it stands.
func (s *Source) Check(path string) []Problem {
	switch {
	case s.Inline != "" && s.File != "":
		return []Problem{{Path: path, Message: "a script has both inline text and a file", Hint: "keep one of them"}}
	case s.Inline == "" && s.File == "":
		return []Problem{{Path: path, Message: "a script has neither inline text nor a file", Hint: "write the Lua text, or {file: path.lua}"}}
	case strings.ContainsAny(s.Name, "\n\r\x00"):
		return []Problem{{Path: path + ".name", Message: fmt.Sprintf("name %q has a line break", s.Name), Hint: "write it in one line"}}
	}
	return nil
}
