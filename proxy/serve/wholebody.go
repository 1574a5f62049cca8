package serve

import (
	"io"
	"os"

	"perigee/proxy/exchange"
)

// readWholeBody reads the request body: into ex.Body as long as it fits into
// ex.BodyBuffer, otherwise into a file. how is exchange.Body*.
func (s *Server) readWholeBody(ex *exchange.Exchange, how int32) error {
	size := ex.Down.BodySize()
	if ex.BodyLimit > 0 && size > ex.BodyLimit {
		ex.Down.Close()
		return exchange.ErrBodyTooLarge
	}
	r := wholeBody{folder: s.limits.Load().BodyTemp, ex: ex, buffer: ex.BodyBuffer}
	switch {
	case how == exchange.BodyDiscarded:
		return r.pour(io.Discard, nil)
	case how == exchange.BodyInMemory:
		r.buffer = maxMemory
	case size > r.buffer:
		return r.toFile(nil)
	}
	return r.toMemory(size)
}

// maxMemory is a bound that no body reaches.
const maxMemory = 1<<63 - 1

// wholeBody is a body that is being read.
type wholeBody struct {
	folder string // of files
	ex     *exchange.Exchange
	total  int64
	buffer int64 // how much of it may be in memory
}

// read reads once and tells whether that was the end.
func (r *wholeBody) read(p []byte) (n int, ended bool, err error) {
	n, err = r.ex.Down.(*conn).ReadBody(p)
	r.total += int64(n)
	if r.ex.BodyLimit > 0 && r.total > r.ex.BodyLimit {
		r.ex.Down.Close()
		return n, false, exchange.ErrBodyTooLarge
	}
	if err == io.EOF || err == nil && r.ex.Down.BodyDone() {
		r.ex.BodyRead = true
		return n, true, nil
	}
	return n, false, err
}

func (r *wholeBody) toMemory(size int64) error {
	body := r.ex.Body[:0]
	if size > 0 && int64(cap(body)) < size && size <= 1<<20 {
		body = make([]byte, 0, size)
	}
	for {
		if len(body) == cap(body) {
			// An announced length is not believed beyond a megabyte: memory
			// follows the bytes that really come.
			body = append(body, 0)[:len(body)]
		}
		n, ended, err := r.read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		r.ex.Body = body
		switch {
		case err != nil:
			return err
		case int64(len(body)) > r.buffer:
			r.ex.BodyRead = false
			r.ex.Body = nil // what is pooled does not grow by what went to a file
			if !ended {
				return r.toFile(body)
			}
			return r.keep(body)
		case ended:
			return nil
		}
	}
}

// toFile goes on into a file; head is what was read before.
func (r *wholeBody) toFile(head []byte) error {
	f, err := r.create()
	if err != nil {
		return err
	}
	return r.finish(f, r.pour(f, head))
}

// keep writes a body that is complete to a file.
func (r *wholeBody) keep(body []byte) error {
	f, err := r.create()
	if err != nil {
		return err
	}
	if _, err = f.Write(body); err != nil {
		err = exchange.BodyFileError(err)
	}
	r.ex.BodyRead = err == nil
	return r.finish(f, err)
}

func (r *wholeBody) create() (*os.File, error) {
	f, err := os.CreateTemp(r.folder, "perigee-body-")
	if err != nil {
		return nil, exchange.BodyFileError(err)
	}
	r.ex.OwnFile(f.Name())
	return f, nil
}

func (r *wholeBody) finish(f *os.File, err error) error {
	if closed := f.Close(); err == nil && closed != nil {
		err = exchange.BodyFileError(closed)
	}
	if err == nil {
		r.ex.BodyFile = exchange.BodyFile{Path: f.Name(), Size: r.total}
	}
	return err
}

// pour copies the rest of the body behind head to w.
func (r *wholeBody) pour(w io.Writer, head []byte) error {
	mem := pumpBuffers.Get().(*[pumpSize]byte)
	defer pumpBuffers.Put(mem)
	if _, err := w.Write(head); err != nil {
		return exchange.BodyFileError(err)
	}
	for {
		n, ended, err := r.read(mem[:])
		if err != nil {
			return err
		}
		if _, err := w.Write(mem[:n]); err != nil {
			r.ex.Down.Close()
			return exchange.BodyFileError(err)
		}
		if ended {
			return nil
		}
	}
}

// pumpFile sends a body that is in a file to the upstream.
func pumpFile(ex *exchange.Exchange) error {
	f, err := os.Open(ex.BodyFile.Path)
	if err != nil {
		return exchange.BodyFileError(err)
	}
	defer f.Close()
	mem := pumpBuffers.Get().(*[pumpSize]byte)
	defer pumpBuffers.Put(mem)
	for left := ex.BodyFile.Size; left > 0; {
		n, err := io.ReadFull(f, mem[:min(int64(pumpSize), left)])
		if err != nil {
			return exchange.BodyFileError(err)
		}
		if err := ex.Up.Write(mem[:n], nil, nil); err != nil {
			return err
		}
		left -= int64(n)
	}
	ex.Up.SentAll()
	return nil
}
