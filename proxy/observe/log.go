package observe

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// logLines is how many process log lines may wait for the writer.
const logLines = 2048

// maxMessage bounds a message in bytes; nginx cuts a line at 2048, which loses
// the end of most Lua tracebacks.
const maxMessage = 8 << 10

// LogOptions configures the process log.
type LogOptions struct {
	// File is appended to, and made when missing; "-" is standard error.
	File  string
	Level Level
	// Dropped counts lines that were lost; Metrics.LogDropped.
	Dropped *Counter
	// Report is told once when writing begins to fail; nil writes to standard
	// error, the only place left.
	Report func(error)
}

// Log is the process log, in nginx's form so that what people grep for in an
// error.log is found:
//
//	2026/11/23 23:01:02 [error] 1234#0: *17 message, client: 10.0.0.1, request: "GET / HTTP/1.1", host: "a.example"
//
// 1234 is the process, *17 the client's connection. Lines are written by a
// goroutine of the log's own; no level waits for the file, and a line that finds
// no room is counted in Dropped and lost.
type Log struct {
	*sink
	level atomic.Uint32
	pid   int
	tap   atomic.Pointer[func(Level, []byte)]
}

// OpenLog opens the file and starts the writer.
func OpenLog(o LogOptions) (*Log, error) {
	if o.File == "" {
		return nil, errors.New(`log.file is empty: give a path, or "-" for standard error`)
	}
	out, err := openTarget(target{path: o.File, std: int(os.Stderr.Fd())})
	if err != nil {
		return nil, fmt.Errorf("log.file: %w", err)
	}
	path := o.File
	if path == "-" {
		path = ""
	}
	return newLog(out, path, o), nil
}

// NewLog returns a log that writes to out, for tests and tools; it is closed
// with the log.
func NewLog(out io.WriteCloser, level Level) *Log {
	return newLog(out, "", LogOptions{Level: level})
}

func newLog(out io.WriteCloser, path string, o LogOptions) *Log {
	l := &Log{sink: newSink(out, path, logLines), pid: os.Getpid()}
	l.level.Store(uint32(o.Level))
	l.dropped, l.report = o.Dropped, o.Report
	if l.dropped == nil {
		l.dropped = new(Counter)
	}
	if l.report == nil {
		l.report = func(err error) { fmt.Fprintf(os.Stderr, "perigee: process log: %v\n", err) }
	}
	l.start()
	return l
}

// SetLevel changes what is written from now on, as after a reload.
func (l *Log) SetLevel(level Level) { l.level.Store(uint32(level)) }

// Level returns the least grave level that is written.
func (l *Log) Level() Level { return Level(l.level.Load()) }

// Enabled reports whether a line of that level would be written. It is one
// load: ask before building a message.
func (l *Log) Enabled(level Level) bool { return level <= l.Level() }

// Write logs message at level. rec, when there is an exchange, adds its
// connection, client, listener, request and host. Both are borrowed for the call
// only; nothing is allocated and nothing blocks. Control characters other than
// line feed and tab are written \xHH, so that a message cannot drive a terminal.
func (l *Log) Write(level Level, rec *Record, message []byte) {
	if l.Enabled(level) {
		writeLine(l, level, rec, message, l.tap.Load())
	}
}

// Print is Write for a message that is a string.
func (l *Log) Print(level Level, rec *Record, message string) {
	if l.Enabled(level) {
		writeLine(l, level, rec, message, l.tap.Load())
	}
}

// SetTap makes tap see each line that is logged, without its line feed, but for
// those of Relay; nil: nobody. The line is lent for the call, which may come
// from any goroutine.
func (l *Log) SetTap(tap func(level Level, line []byte)) {
	if tap == nil {
		l.tap.Store(nil)
		return
	}
	l.tap.Store(&tap)
}

// Relay is Write for a message that the tap's owner has seen already.
func (l *Log) Relay(level Level, rec *Record, message []byte) {
	if l.Enabled(level) {
		writeLine(l, level, rec, message, nil)
	}
}

// Slog returns a logger for structured use; its attributes follow the message as
// ", key: value". slog.NewLogLogger on its handler serves whoever wants Printf.
func (l *Log) Slog() *slog.Logger { return slog.New(&slogHandler{log: l}) }

// Reopen opens the file anew, as after logrotate moved it (SIGUSR1); lines up to
// now go to the old one. It does nothing for "-".
func (l *Log) Reopen() error { return l.sink.Reopen() }

// Close stops taking lines, writes those it has and closes the file. It gives up
// after limit with ErrStuck.
func (l *Log) Close(limit time.Duration) error { return l.sink.Close(limit) }

func writeLine[T []byte | string](l *Log, level Level, rec *Record, message T, tap *func(Level, []byte)) {
	c, p := l.reserve()
	if c == nil {
		return
	}
	defer l.commit(c, p)
	dst := l.appendHead(c.buf, lineHead{time.Now(), level, rec})
	dst = appendMessage(dst, message)
	if rec != nil {
		dst = appendExchange(dst, rec)
	}
	if tap != nil {
		(*tap)(level, dst)
	}
	c.buf = append(dst, '\n')
}
