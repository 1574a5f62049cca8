package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"go.yaml.in/yaml/v3"
)

// FileKey is an entry of keys in a file: a key and whose it is.
type FileKey struct {
	Key      `yaml:",inline"`
	Consumer string `yaml:"consumer"`
}

// content is what a file of keys and consumers says.
type content struct {
	Consumers map[string]Consumer `yaml:"consumers"`
	Keys      []FileKey           `yaml:"keys"`
}

// maxFile bounds a file of keys: some 500,000 of them.
const maxFile = 64 << 20

// file is one file of keys and consumers. The registry owns it.
type file struct {
	path      string
	borrowers int
	stamp     stamp    // of what was read last, used or not
	good      *content // what is served
	broken    bool     // what was read last is not what is served
}

// stamp tells versions of a file apart.
type stamp struct {
	mod  time.Time
	size int64
	id   any // the inode: a file that was moved here may be older
}

func stampOf(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	return stamp{info.ModTime(), info.Size(), inode(info)}, nil
}

// readContent reads and checks a file. Its errors name lines, never values:
// they go into the log.
func readContent(path string) (*content, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("file %q cannot be read: %w", path, bare(err))
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("file %q cannot be read: %w", path, bare(err))
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("file %q is larger than %d MiB", path, maxFile>>20)
	}
	c, err := parseContent(text)
	if err != nil {
		return nil, fmt.Errorf("file %q: %w", path, err)
	}
	return c, nil
}

// bare is an error of package os without the path, which is said already.
func bare(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// parseContent reads the text of a file, strictly: a key that is not known is an
// error.
func parseContent(text []byte) (*content, error) {
	var c content
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		// The parser quotes values, which may be keys.
		where := ""
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			where = " at line " + m[1]
		}
		return nil, fmt.Errorf("not understood%s (write consumers: {NAME: {...}} and keys: [{sha256: ..., consumer: NAME}])", where)
	}
	var more yaml.Node
	if d.Decode(&more) == nil {
		return nil, errors.New("a second YAML document is in it")
	}
	if err := newTable().add(c.Consumers, c.Keys); err != nil {
		return nil, err
	}
	return &c, nil
}
