// Package static serves files from a directory, as nginx's static, index and
// try_files modules do.
//
//	content stage      try_files ----> index ----> open ----> ETag, dates, type
//	                       |             |           |
//	                       v             v           v
//	                 another route   match again   301, 403, 404, 405
//
//	header stage       Range ----> 206 with one part or several, or 416
//
// Conditions (If-Modified-Since and its like) are judged by the gateway, for
// scripts' answers too; what is opened and read is read by the driver, so that
// no step waits for a disk.
package static

import (
	"fmt"
	"strconv"
	"strings"

	"perigee/proxy/unit"
)

// Config is a route's static block: files of a directory. A text in its place
// is root.
type Config struct {
	// Root is the directory below which the request's path is looked up, from
	// prefix when it is relative; variables are evaluated. nginx: root.
	Root unit.Template `yaml:"root,omitempty" config:"short"`
	// Alias is a directory that stands for the part of the path that the route
	// matched, or, for a route matched by an expression, the file's whole path
	// with captures. Instead of root. nginx: alias.
	Alias unit.Template `yaml:"alias,omitempty"`
	// Index are the files that answer for a directory: the first that exists is
	// matched as if it had been asked for. One that starts with a slash is a
	// path that is tried last. Default [index.html]; without any a directory is
	// answered 403. nginx: index.
	Index []unit.Template `yaml:"index"`
	// TryFiles are paths below root; the first that exists is served. One that
	// ends in a slash must be a directory. The last is not looked for: =404
	// answers with a status, @name goes on with that route, anything else is a
	// path (and query) that is matched again. nginx: try_files.
	TryFiles []unit.Template `yaml:"try_files,omitempty"`
	// Types are the endings of names by media type, beside those that perigee
	// knows. nginx: types.
	Types map[string][]string `yaml:"types,omitempty"`
	// BuiltinTypes says whether the endings of nginx's mime.types are known.
	// Default true.
	BuiltinTypes bool `yaml:"builtin_types"`
	// DefaultType is the Content-Type of names with another ending, or none;
	// empty: no Content-Type. Default application/octet-stream. nginx:
	// default_type.
	DefaultType string `yaml:"default_type"`
	// ETag says whether answers carry one, made of time and size. Default true.
	// nginx: etag.
	ETag bool `yaml:"etag"`
	// MaxRanges is how many ranges a request may ask for; more get the whole
	// file. Default 100; 0: no ranges are served. nginx: max_ranges (no bound
	// there).
	MaxRanges int `yaml:"max_ranges"`
	// Symlinks says which symbolic links below root are followed: inside
	// (default), relative ones that stay below root; follow, all of them; refuse,
	// none. What is not followed is answered 403. nginx: disable_symlinks
	// (follow there).
	Symlinks Symlinks `yaml:"symlinks"`
	// Hidden says whether names that start with a dot are served. Default false:
	// they are answered 404, .well-known excepted. nginx serves them.
	Hidden bool `yaml:"hidden"`
}

// SetDefaults gives every field that has one its default.
func (c *Config) SetDefaults() {
	c.Index = []unit.Template{unit.MustTemplate("index.html")}
	c.BuiltinTypes, c.ETag = true, true
	c.DefaultType = "application/octet-stream"
	c.Symlinks = SymlinksInside
	c.MaxRanges = 100
}

// Symlinks is a value of symlinks.
type Symlinks string

// The policies.
const (
	SymlinksInside Symlinks = "inside"
	SymlinksFollow Symlinks = "follow"
	SymlinksRefuse Symlinks = "refuse"
)

// Values are the words that are accepted.
func (Symlinks) Values() []string {
	return []string{string(SymlinksInside), string(SymlinksFollow), string(SymlinksRefuse)}
}

// Check reports blocks that could serve nothing, or something else than they
// say.
func (c *Config) Check() []unit.Problem {
	var problems []unit.Problem
	report := func(path, message, hint string) {
		problems = append(problems, unit.Problem{Path: path, Message: message, Hint: hint})
	}
	switch {
	case c.Root.IsZero() && c.Alias.IsZero():
		report("", "static names no directory", "add root, or alias")
	case !c.Root.IsZero() && !c.Alias.IsZero():
		report("alias", "static has both root and alias", "keep one of them")
	}
	for i, t := range c.Index {
		if t.IsZero() {
			report(fmt.Sprintf("index[%d]", i), "an index without a name", "write a file's name such as index.html")
		}
	}
	c.checkTryFiles(report)
	seen := make(map[string]string)
	for _, media := range sorted(c.Types) {
		path := unit.Join("types", media)
		if major, minor, found := strings.Cut(media, "/"); !found || !unit.IsToken(major) || minor == "" {
			report(path, fmt.Sprintf("%q is no media type", media), "write a type such as text/css")
		}
		for i, ending := range c.Types[media] {
			at := fmt.Sprintf("%s[%d]", path, i)
			if ending == "" || strings.ContainsAny(ending, "./") {
				report(at, fmt.Sprintf("%q is no ending of a name", ending), "write it without a dot: css")
			}
			if other, twice := seen[strings.ToLower(ending)]; twice && other != media {
				report(at, fmt.Sprintf("names in .%s have the type %s too", ending, other), "keep one of them")
			}
			seen[strings.ToLower(ending)] = media
		}
	}
	if c.MaxRanges < 0 {
		report("max_ranges", fmt.Sprintf("%d is no number of ranges", c.MaxRanges), "write 0 or more")
	}
	return append(problems, unit.CheckHeaderValue("default_type", unit.MustTemplate(unit.EscapeTemplate(c.DefaultType)))...)
}

func (c *Config) checkTryFiles(report func(path, message, hint string)) {
	if len(c.TryFiles) == 0 {
		return
	}
	last := len(c.TryFiles) - 1
	if last == 0 {
		report("try_files", "try_files has a single entry, which is not looked for", "add what is to be tried in front of it")
	}
	text := c.TryFiles[last].String()
	if code, found := strings.CutPrefix(text, "="); found {
		status, err := strconv.Atoi(code)
		if err != nil || status != 204 && (status < 300 || status > 599) {
			report(fmt.Sprintf("try_files[%d]", last), fmt.Sprintf("%q is no status that can be answered", text), "write = and a number such as =404")
		}
	}
}

// JumpsTo is the name of the route that try_files goes on with, or "".
func (c *Config) JumpsTo() string {
	if len(c.TryFiles) == 0 {
		return ""
	}
	name, found := strings.CutPrefix(c.TryFiles[len(c.TryFiles)-1].String(), "@")
	if !found {
		return ""
	}
	return name
}
