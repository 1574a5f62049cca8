package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"perigee/proxy/unit"
)

// expander replaces ${...} in scalar values.
type expander struct {
	dir string // where relative ${file:...} paths start
}

// valueProblem is an expansion that cannot be made.
type valueProblem struct{ message, hint string }

// expansion is the outcome for one scalar.
type expansion struct {
	text    string
	changed bool // a variable or file was put in
	problem *valueProblem
}

// expand returns text with ${...} replaced. In a template "$$" stays as it is
// and dollars that come in are doubled, because the template is still to be
// parsed; elsewhere "$$" becomes a dollar.
func (e expander) expand(text string, template bool) expansion {
	if strings.IndexByte(text, '$') < 0 {
		return expansion{text: text}
	}
	var b strings.Builder
	changed := false
	for text != "" {
		before, after, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			break
		}
		switch {
		case strings.HasPrefix(after, "$"):
			b.WriteString("$")
			if template {
				b.WriteString("$")
			}
			text = after[1:]
		case strings.HasPrefix(after, "{"):
			inner, rest, closed := strings.Cut(after[1:], "}")
			if !closed {
				return expansion{problem: &valueProblem{"${ has no closing brace", "write ${NAME}, or $$ for a dollar"}}
			}
			value, problem := e.lookup(inner)
			if problem != nil {
				return expansion{problem: problem}
			}
			if template {
				value = unit.EscapeTemplate(value)
			}
			b.WriteString(value)
			changed = true
			text = rest
		default:
			b.WriteString("$")
			text = after
		}
	}
	return expansion{text: b.String(), changed: changed}
}

// lookup returns what stands for the text between the braces.
func (e expander) lookup(inner string) (string, *valueProblem) {
	if path, isFile := strings.CutPrefix(inner, "file:"); isFile {
		if !filepath.IsAbs(path) {
			path = filepath.Join(e.dir, path)
		}
		text, err := readRegular(path)
		if err != nil {
			return "", &valueProblem{fmt.Sprintf("${%s} cannot be read: %v", inner, reason(err)), "give perigee's user a readable file"}
		}
		text = strings.TrimSuffix(text, "\n")
		return strings.TrimSuffix(text, "\r"), nil
	}
	name, fallback, hasFallback := strings.Cut(inner, ":-")
	if !envName(name) {
		return "", &valueProblem{fmt.Sprintf("${%s} names no environment variable", inner), "write ${NAME}, ${NAME:-default} or ${file:PATH}; $$ is a dollar"}
	}
	value, set := os.LookupEnv(name)
	switch {
	case hasFallback && value == "":
		return fallback, nil
	case !set:
		return "", &valueProblem{fmt.Sprintf("environment variable %q is not set", name), "set it, or write ${" + name + ":-default}"}
	}
	return value, nil
}

func envName(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// maxFile bounds secrets and scripts: both are read whole into memory.
const maxFile = 16 << 20

// readRegular reads a file, but no pipe, device or folder: opening some of them
// waits for ever.
func readRegular(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("it is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("it is larger than %s", unit.Size(maxFile))
	}
	return string(data), err
}

// reason is err without the operation and path that the message says already.
func reason(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
