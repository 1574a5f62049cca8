package luavm

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// How an OpPipeRead reads: Int2 / 2.
const (
	pipeReadAll = iota
	pipeReadBytes
	pipeReadLine
	pipeReadAny
)

// stream is our end of a pipe to a child process. One op uses it at a time.
type stream struct {
	mu   sync.Mutex
	file *os.File // nil: closed, or none
	busy bool
	shut bool // closed by a script, or the process is over
	gone bool // the op was cancelled

	buf []byte // read and not asked for yet; the busy op's
	eof bool
}

// pipeBuffer is how much is read at once.
const pipeBuffer = 4096

// begin makes the stream op's.
func (s *stream) begin(op *Op, busy error) error {
	s.mu.Lock()
	if s.shut || s.file == nil {
		s.mu.Unlock()
		return errPipeClosed
	}
	if s.busy {
		s.mu.Unlock()
		return busy
	}
	s.busy, s.gone = true, false
	s.mu.Unlock()
	op.OnCancel(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.gone = true
		s.interrupt()
	})
	return nil
}

// end gives the stream back; one that was shut meanwhile is closed now.
func (s *stream) end(op *Op) {
	op.OnCancel(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = false
	if s.shut {
		s.close()
	}
}

// interrupt makes a read or write under way return; mu is held.
func (s *stream) interrupt() {
	if s.file != nil {
		_ = s.file.SetDeadline(time.Unix(1, 0))
	}
}

func (s *stream) close() {
	if s.file != nil {
		_ = s.file.Close()
		s.file = nil
	}
}

func (s *stream) shutdown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut = true
	if s.busy {
		s.interrupt()
		return
	}
	s.close()
}

// allow lets the next read or write take its time.
func (s *stream) allow(op *Op) error {
	var until time.Time
	if limit := op.patience(); limit >= 0 {
		until = time.Now().Add(limit)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut || s.gone {
		return errPipeAborted
	}
	return s.file.SetDeadline(until)
}

// explain is what a script is told of a failed read or write.
func (s *stream) explain(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.shut || s.gone:
		return errPipeAborted
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errPipeTimeout
	case errors.Is(err, syscall.EPIPE):
		return errPipeClosed
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}

// read gives Reply what the op asks for, or the error and what there was
// before it.
func (s *stream) read(op *Op) error {
	if err := s.begin(op, errPipeReading); err != nil {
		return err
	}
	defer s.end(op)
	limit := int(op.VM().pool.options.MaxOutput)
	for {
		if s.take(op) {
			return nil
		}
		err := errPipeClosed
		if len(s.buf) > limit {
			err = errPipeMemory
		} else if !s.eof {
			if err = s.allow(op); err == nil {
				err = s.more()
			}
			if err == nil {
				continue
			}
			err = s.explain(err)
		}
		op.Reply = append(op.Reply, s.buf...)
		s.buf = s.buf[:0]
		return err
	}
}

// more reads a piece.
func (s *stream) more() error {
	at := len(s.buf)
	if cap(s.buf)-at < pipeBuffer {
		s.buf = append(make([]byte, 0, 2*at+pipeBuffer), s.buf...)
	}
	n, err := s.file.Read(s.buf[at : at+pipeBuffer])
	s.buf = s.buf[:at+n]
	if err == io.EOF {
		s.eof, err = true, nil
	}
	return err
}

// take moves what the op asks for to Reply, if it is there.
func (s *stream) take(op *Op) bool {
	n, want := len(s.buf), int(min(op.Number2, 1<<40))
	switch op.Int2 >> 1 {
	case pipeReadAll:
		if !s.eof {
			return false
		}
	case pipeReadBytes:
		if n < want {
			return false
		}
		n = want
	case pipeReadLine:
		at := bytes.IndexByte(s.buf, '\n')
		if at < 0 {
			return false
		}
		for _, c := range s.buf[:at] {
			if c != '\r' { // as cosockets do
				op.Reply = append(op.Reply, c)
			}
		}
		s.drop(at + 1)
		return true
	case pipeReadAny:
		if n == 0 {
			return false
		}
		n = min(n, want)
	}
	op.Reply = append(op.Reply, s.buf[:n]...)
	s.drop(n)
	return true
}

func (s *stream) drop(n int) { s.buf = s.buf[:copy(s.buf, s.buf[n:])] }

// write sends all of Data.
func (s *stream) write(op *Op) error {
	if err := s.begin(op, errPipeWriting); err != nil {
		return err
	}
	defer s.end(op)
	for data := op.Data; len(data) > 0; {
		err := s.allow(op)
		n := 0
		if err == nil {
			n, err = s.file.Write(data[:min(len(data), pipeBuffer)])
		}
		if data = data[n:]; err != nil {
			return s.explain(err)
		}
	}
	return nil
}
