package disk

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// Links says which symbolic links in a name are followed.
type Links uint8

// The policies. Links in the path of the root itself are always followed: they
// are the operator's.
const (
	LinksInside Links = iota // relative ones that stay beneath the root
	LinksAny                 // wherever they lead
	LinksNone                // none
)

// Kind is what a name must be to be found.
type Kind uint8

// The kinds.
const (
	Any       Kind = iota
	Directory      // a directory
	Other          // anything but a directory
	Refused        // it is as if it were not there
)

// Name is one candidate of a Query.
type Name struct {
	Path string // relative to the root; "" is the root itself
	Kind Kind
}

// Query asks for the first of Names that exists.
type Query struct {
	Root  string // an absolute path
	Links Links
	Names []Name
	// Test: only whether it exists; the file is not opened for reading.
	Test bool

	// At is the name that was found, or that failed for another reason than
	// not being there; len(Names): none of them is there.
	At int
	// File is what was found at At; the caller closes it.
	File File
	// Err says why Names[At] could not be had; nil if it was found, or none is
	// there.
	Err error
}

// Run answers the query, beginning with Names[from].
func (q *Query) Run(from int) {
	q.Err = nil
	for q.At = from; q.At < len(q.Names); q.At++ {
		n := &q.Names[q.At]
		if n.Kind == Refused {
			continue
		}
		f, err := q.open(n.Path)
		if err == nil && (n.Kind == Any || (n.Kind == Directory) == f.Directory) {
			q.File = f
			return
		}
		if err == nil {
			f.Close()
			continue
		}
		if !Missing(err) {
			q.Err = err
			return
		}
	}
}

// Missing tells whether err says that nothing readable has that name, rather
// than that it may not be had. Sockets cannot be opened at all.
func Missing(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENAMETOOLONG) ||
		errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV)
}

// Forbidden tells whether err says that a name is there but not to be had:
// permissions, or a link that the policy does not follow.
func Forbidden(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ELOOP) ||
		errors.Is(err, unix.EMLINK) || errors.Is(err, unix.EXDEV)
}

// Safe tells whether a name can be asked for: no NUL, and no ".." segment,
// which has no meaning in a path that was normalized before.
func Safe(name string) bool {
	if strings.IndexByte(name, 0) >= 0 {
		return false
	}
	for rest := name; ; {
		segment, after, more := strings.Cut(rest, "/")
		if segment == ".." {
			return false
		}
		if !more {
			return true
		}
		rest = after
	}
}

func (q *Query) open(name string) (File, error) {
	if !Safe(name) || strings.IndexByte(q.Root, 0) >= 0 {
		return File{}, unix.ENOENT
	}
	name = strings.TrimLeft(name, "/") // an absolute name would leave the root
	flags := unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	if q.Test {
		flags = unix.O_PATH | unix.O_CLOEXEC
	}
	fd, err := q.openName(name, flags)
	if err != nil {
		return File{}, err
	}
	return stat(fd)
}

func (q *Query) openName(name string, flags int) (int, error) {
	switch {
	case name == "":
		return retry(func() (int, error) { return unix.Open(q.Root, flags, 0) })
	case q.Links == LinksAny:
		return retry(func() (int, error) { return unix.Open(q.Root+"/"+name, flags, 0) })
	}
	root, err := retry(func() (int, error) {
		return unix.Open(q.Root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return -1, err
	}
	defer unix.Close(root)
	return beneath(root, q, name, flags)
}

// retry repeats a call that a signal has interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
