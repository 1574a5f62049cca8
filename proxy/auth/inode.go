package auth

import (
	"io/fs"
	"syscall"
)

// inode identifies a file beside its path.
func inode(info fs.FileInfo) any {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ino
	}
	return nil
}
