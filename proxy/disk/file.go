package disk

import (
	"io"

	"golang.org/x/sys/unix"
)

// File is an open file. The zero File is none.
type File struct {
	// Size is in bytes, when it was opened. Modified is in seconds since 1970.
	Size, Modified int64
	// Directory and Regular say what it is; neither: a FIFO, a device, a socket.
	Directory, Regular bool

	fd int // plus one, so that the zero value is none
}

// stat makes a File of a descriptor, which it closes on error.
func stat(fd int) (File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return File{}, err
	}
	return File{
		Size: st.Size, Modified: st.Mtim.Sec,
		Directory: st.Mode&unix.S_IFMT == unix.S_IFDIR,
		Regular:   st.Mode&unix.S_IFMT == unix.S_IFREG,
		fd:        fd + 1,
	}, nil
}

// IsOpen tells whether there is a file.
func (f *File) IsOpen() bool { return f.fd != 0 }

// Descriptor is the file's number, -1 without a file. It belongs to the File.
func (f *File) Descriptor() int { return f.fd - 1 }

// ReadAt reads from an offset until p is full; io.ErrUnexpectedEOF: the file
// has become shorter.
func (f *File) ReadAt(p []byte, at int64) (n int, err error) {
	for n < len(p) {
		got, err := retry(func() (int, error) { return unix.Pread(f.Descriptor(), p[n:], at+int64(n)) })
		if err != nil {
			return n, err
		}
		if got == 0 {
			return n, io.ErrUnexpectedEOF
		}
		n += got
	}
	return n, nil
}

// Close closes the file, if there is one.
func (f *File) Close() {
	if f.fd != 0 {
		_ = unix.Close(f.Descriptor())
		f.fd = 0
	}
}
