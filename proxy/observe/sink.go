package observe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// gatherTime is how long the writer lets lines gather after a write; a line
	// after a quiet time is written at once.
	gatherTime = 5 * time.Millisecond
	// batchBytes is when a batch is written even though more lines wait.
	batchBytes = 64 << 10
	// reopenTime bounds Reopen when the writer is stuck in a write.
	reopenTime = 2 * time.Second
)

// ErrStuck says that the writer is blocked in a write: a pipe nobody reads, or a
// disk that does not answer.
var ErrStuck = errors.New("the log's writer is blocked in a write")

// sink is a ring and the goroutine that writes its lines to a file. Producers
// never wait: a full ring drops the line and counts it.
type sink struct {
	ring    *ring
	dropped *Counter
	report  func(error) // told once when writing starts to fail; never nil

	asleep  atomic.Bool // the writer waits for wake
	closed  atomic.Bool
	wake    chan struct{} // capacity 1
	reopens chan chan error
	closing chan struct{}
	once    sync.Once
	done    chan struct{} // closed when the writer is gone

	// The rest is the writer's own.
	path    string // "" when out cannot be reopened
	out     io.WriteCloser
	batch   []byte
	lines   uint64 // in batch
	failing bool
	torn    bool // the last write ended inside a line
}

// target is where a sink writes.
type target struct {
	path string // "-" for std
	std  int    // the file descriptor that "-" means
}

// openTarget opens the file for appending, made with mode 0640 as access and
// error lines hold what clients sent.
func openTarget(t target) (io.WriteCloser, error) {
	if t.path != "-" {
		return os.OpenFile(t.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	}
	// A duplicate, because Go ends the process when a write to descriptor 1 or 2
	// itself meets a broken pipe; on any other it returns EPIPE.
	fd, err := unix.FcntlInt(uintptr(t.std), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("duplicate descriptor %d for log output: %w", t.std, err)
	}
	return os.NewFile(uintptr(fd), "-"), nil
}

// newSink starts a writer to out; size is the ring's, a power of two. path is
// what Reopen opens, "" for nothing.
func newSink(out io.WriteCloser, path string, size int) *sink {
	return &sink{
		ring:    newRing(size),
		wake:    make(chan struct{}, 1),
		reopens: make(chan chan error),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
		path:    path,
		out:     out,
		batch:   make([]byte, 0, batchBytes+keptBytes),
	}
}

// start runs the writer; the fields that configure it are set by then.
func (s *sink) start() { go s.run() }

// reserve returns a cell to format a line into, or nil after counting a drop.
// commit must follow.
func (s *sink) reserve() (*cell, uint64) {
	if s.closed.Load() {
		s.dropped.Inc()
		return nil, 0
	}
	c, p := s.ring.reserve()
	if c == nil {
		s.dropped.Inc()
	}
	return c, p
}

// commit hands the line over. An empty buffer is skipped by the writer, so that
// it may run deferred: a formatter that panics leaves a hole, not a dead ring.
func (s *sink) commit(c *cell, p uint64) {
	c.publish(p)
	// Either the writer sleeps and someone must wake it, or a quarter of the ring
	// has gone by and it should not go on gathering. The writer looks at the ring
	// again after it set asleep, so a line published before is not overlooked.
	quarter := (s.ring.mask + 1) / 4
	if s.asleep.Load() && s.asleep.CompareAndSwap(true, false) || p%quarter == 0 {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

func (s *sink) run() {
	defer close(s.done)
	gather := time.NewTimer(time.Hour)
	defer gather.Stop()
	for {
		s.drain()
		gather.Reset(gatherTime)
		if s.rest(gather.C) {
			break
		}
		if !s.ring.empty() {
			continue
		}
		s.asleep.Store(true)
		if s.ring.empty() && s.rest(nil) {
			break
		}
		s.asleep.Store(false)
	}
	s.finish()
}

// rest waits for a line, an order or the timer, and reports whether to end.
func (s *sink) rest(timer <-chan time.Time) bool {
	select {
	case <-s.wake:
	case <-timer:
	case reply := <-s.reopens:
		s.drain()
		reply <- s.reopen()
	case <-s.closing:
		return true
	}
	return false
}

// finish writes what is left. A producer may have reserved a cell before closed
// was set: it is given a moment to publish.
func (s *sink) finish() {
	for range 100 {
		s.drain()
		if s.ring.empty() {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err := s.out.Close(); err != nil {
		s.fail(fmt.Errorf("close log: %w", err))
	}
}

// drain writes all complete lines.
func (s *sink) drain() {
	for {
		c := s.ring.take()
		if c == nil {
			break
		}
		if len(c.buf) > 0 {
			s.batch = append(s.batch, c.buf...)
			s.lines++
		}
		s.ring.free(c)
		if len(s.batch) >= batchBytes {
			s.flush()
		}
	}
	s.flush()
	if cap(s.batch) > 4*batchBytes {
		s.batch = make([]byte, 0, batchBytes+keptBytes)
	}
}

// flush writes the batch. What could not be written is lost and counted: a full
// disk must not turn into full memory.
func (s *sink) flush() {
	if s.lines == 0 {
		return
	}
	if s.torn {
		// Lines after a torn one start on their own line.
		if _, err := s.out.Write([]byte{'\n'}); err == nil {
			s.torn = false
		}
	}
	n, err := s.out.Write(s.batch)
	if err != nil {
		lost := s.batch[min(max(n, 0), len(s.batch)):]
		s.torn = s.torn || n > 0 && s.batch[n-1] != '\n'
		s.dropped.Add(uint64(bytes.Count(lost, []byte{'\n'})))
		s.fail(err)
	} else {
		s.failing = false
	}
	s.batch, s.lines = s.batch[:0], 0
}

// fail reports err once per row of failures.
func (s *sink) fail(err error) {
	if !s.failing {
		s.failing = true
		s.report(err)
	}
}

// reopen opens path anew and lets go of the old file, or keeps the old one.
func (s *sink) reopen() error {
	if s.path == "" {
		return nil
	}
	out, err := openTarget(target{path: s.path})
	if err != nil {
		return fmt.Errorf("reopen log, the old file stays in use: %w", err)
	}
	old := s.out
	s.out, s.failing, s.torn = out, false, false
	if err := old.Close(); err != nil {
		return fmt.Errorf("close the log's old file: %w", err)
	}
	return nil
}

// Reopen opens the file anew, as after logrotate moved it; lines up to now go to
// the old one. It does nothing for "-".
func (s *sink) Reopen() error {
	reply := make(chan error, 1)
	limit := time.NewTimer(reopenTime)
	defer limit.Stop()
	select {
	case s.reopens <- reply:
	case <-s.done:
		return os.ErrClosed
	case <-limit.C:
		return ErrStuck
	}
	return <-reply
}

// Close stops taking lines, writes those it has and closes the file. It gives up
// after limit with ErrStuck and then leaves the writer behind.
func (s *sink) Close(limit time.Duration) error {
	s.closed.Store(true)
	s.once.Do(func() { close(s.closing) })
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-s.done:
		return nil
	case <-timer.C:
		return ErrStuck
	}
}
