package luatest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// suffix is what the name of a spec file ends in.
const suffix = "_spec.lua"

// find lists the spec files: those that are named, and those under folders that
// are, in order, each once.
func find(paths []string) ([]string, error) {
	var files []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if !info.IsDir() {
			files = append(files, filepath.Clean(path))
			continue
		}
		err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if entry.IsDir() {
				if base := entry.Name(); name != path && (base[0] == '.' || base == "node_modules") {
					return fs.SkipDir
				}
				return nil
			}
			if strings.HasSuffix(name, suffix) {
				files = append(files, filepath.Clean(name))
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	seen := map[string]bool{}
	files = slices.DeleteFunc(files, func(name string) bool {
		former := seen[name]
		seen[name] = true
		return former
	})
	if len(files) == 0 {
		return nil, fmt.Errorf("no *%s under %s", suffix, strings.Join(paths, ", "))
	}
	return files, nil
}
