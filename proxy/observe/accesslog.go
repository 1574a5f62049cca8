package observe

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// AccessFormat is the shape of an access line.
type AccessFormat uint8

// The formats of an access line.
const (
	// AccessJSON is one JSON object per line.
	AccessJSON AccessFormat = iota
	// AccessText is nginx's "combined" line followed by name=value pairs for
	// times, upstream, route and request id.
	AccessText
)

// accessLines is how many lines may wait for the writer: at 100 000 lines a
// second, a disk may stand still for 80 ms.
const accessLines = 8192

// AccessOptions configures an access log.
type AccessOptions struct {
	// File is appended to, and made when missing; "-" is standard output.
	File string
	// Out, if not nil, is written to in the place of File, and closed. It is given
	// whole lines and says how many bytes of them it has taken.
	Out io.WriteCloser
	// Dropped counts lines that were lost; Metrics.AccessDropped.
	Dropped *Counter
	// Report is told once when writing begins to fail; nil tells nobody.
	Report func(error)
}

// AccessLog writes one line per finished exchange to a file, on a goroutine of its
// own.
type AccessLog struct {
	*sink
}

// OpenAccessLog opens the file and starts the writer.
func OpenAccessLog(o AccessOptions) (*AccessLog, error) {
	if o.Out != nil {
		return newAccessLog(o.Out, "", o), nil
	}
	if o.File == "" {
		return nil, errors.New(`access_log.file is empty: give a path, or "-" for standard output`)
	}
	out, err := openTarget(target{path: o.File, std: int(os.Stdout.Fd())})
	if err != nil {
		return nil, fmt.Errorf("access_log.file: %w", err)
	}
	path := o.File
	if path == "-" {
		path = ""
	}
	return newAccessLog(out, path, o), nil
}

func newAccessLog(out io.WriteCloser, path string, o AccessOptions) *AccessLog {
	l := &AccessLog{sink: newSink(out, path, accessLines)}
	l.dropped, l.report = o.Dropped, o.Report
	if l.dropped == nil {
		l.dropped = new(Counter)
	}
	if l.report == nil {
		l.report = func(error) {}
	}
	l.start()
	return l
}

// Write formats rec's line and hands it over. It borrows rec only for the call,
// never blocks and does not allocate; a line that finds no room is counted in
// Dropped and lost.
func (l *AccessLog) Write(rec *Record, f AccessFormat) {
	c, p := l.reserve()
	if c == nil {
		return
	}
	defer l.commit(c, p)
	if f == AccessText {
		c.buf = AppendAccessText(c.buf, rec)
	} else {
		c.buf = AppendAccessJSON(c.buf, rec)
	}
}

// Append hands over a line that write appends, its line feed included.
func (l *AccessLog) Append(write func(line []byte) []byte) {
	c, p := l.reserve()
	if c == nil {
		return
	}
	defer l.commit(c, p)
	c.buf = write(c.buf)
}

// Reopen opens the file anew, as after logrotate moved it (SIGUSR1); lines up to
// now go to the old one. It does nothing for "-".
func (l *AccessLog) Reopen() error { return l.sink.Reopen() }

// Close stops taking lines, writes those it has and closes the file. It gives up
// after limit with ErrStuck.
func (l *AccessLog) Close(limit time.Duration) error { return l.sink.Close(limit) }
