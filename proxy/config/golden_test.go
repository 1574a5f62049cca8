package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// A golden file is a txtar archive. Its comment may set the environment, one
// NAME=value in a line; its files are laid out in a folder, perigee.yaml is
// loaded from there. "want" is the exact text of the errors, or for a good
// configuration the masked dump. In want, DIR stands for the folder.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(name, "testdata/"), ".txtar"), func(t *testing.T) { golden(t, name) })
	}
}

func golden(t *testing.T, name string) {
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(archive.Comment), "\n") {
		if key, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			t.Setenv(key, value)
		}
	}
	dir := t.TempDir()
	want := -1
	for i, file := range archive.Files {
		if file.Name == "want" {
			want = i
			continue
		}
		path := filepath.Join(dir, file.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want < 0 {
		archive.Files = append(archive.Files, txtar.File{Name: "want"})
		want = len(archive.Files) - 1
	}
	got := outcome(t, dir, strings.Contains(name, "good"))
	got = bytes.ReplaceAll(got, []byte(dir+"/"), nil)
	got = bytes.ReplaceAll(got, []byte(dir), []byte("DIR"))
	if *update {
		archive.Files[want].Data = got
		if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got, archive.Files[want].Data) {
		t.Errorf("got:\n%s\nwant:\n%s", got, archive.Files[want].Data)
	}
}

// outcome is what a golden file wants to see: a dump or errors.
func outcome(t *testing.T, dir string, good bool) []byte {
	f, err := Load(filepath.Join(dir, "perigee.yaml"))
	if good {
		if err != nil {
			t.Fatal(err)
		}
		dump, err := f.Masked()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Parse("dump", dump, dir); err == nil && again.Digest() != f.Digest() && f.Prefix == "." && len(f.places.written) == 0 {
			t.Logf("the dump reads back as another configuration (paths are joined)")
		}
		return dump
	}
	var all Errors
	if !errors.As(err, &all) {
		t.Fatalf("no errors but %v", err)
	}
	return []byte(err.Error() + "\n")
}
