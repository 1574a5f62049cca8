package disk

import (
	"errors"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// noOpenat2 says that the kernel is older than 5.6, or a seccomp filter hides
// the call from this container.
var noOpenat2 atomic.Bool

// renames is how often a lookup is made again that met a directory while it was
// being renamed.
const renames = 16

// beneath opens a name below the directory root without leaving it.
func beneath(root int, q *Query, name string, flags int) (int, error) {
	if noOpenat2.Load() {
		return walk(q, name)
	}
	how := unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS}
	if q.Links == LinksNone {
		how.Resolve |= unix.RESOLVE_NO_SYMLINKS
	}
	for range renames {
		fd, err := retry(func() (int, error) { return unix.Openat2(root, name, &how) })
		switch err {
		case unix.EAGAIN:
			continue
		case unix.ENOSYS:
			noOpenat2.Store(true)
			return walk(q, name)
		}
		return fd, err
	}
	return -1, unix.EAGAIN
}

// walk is beneath for kernels without openat2: os.Root goes through the name
// segment by segment. It cannot test without opening, so a file that may not be
// read is one that may not be had.
func walk(q *Query, name string) (int, error) {
	dir, err := os.OpenRoot(q.Root)
	if err != nil {
		return -1, errno(err)
	}
	defer dir.Close()
	if q.Links == LinksNone {
		if err := withoutLinks(dir, name); err != nil {
			return -1, err
		}
	}
	f, err := dir.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return -1, errno(err)
	}
	defer f.Close()
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

// withoutLinks refuses a name with a symbolic link anywhere in it.
func withoutLinks(dir *os.Root, name string) error {
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' || i == 0 {
			continue
		}
		info, err := dir.Lstat(name[:i])
		if err != nil {
			return errno(err)
		}
		if info.Mode()&os.ModeSymlink != 0 {
			return unix.ELOOP
		}
	}
	return nil
}

// errno is the number inside an error of package os; os.Root's own refusals
// are those of a name that leaves the root.
func errno(err error) error {
	var number unix.Errno
	if errors.As(err, &number) {
		return number
	}
	return unix.EXDEV
}
