package auth

import (
	"fmt"
	"sync"
	"time"

	"perigee/proxy/observe"
)

// Registry is what auth keeps beyond a reload: files of keys and key sets of
// issuers, each found again by name, with the goroutines that keep them fresh.
// A snapshot borrows what it needs (NewParts); what nobody borrows is closed.
type Registry struct {
	metrics *observe.Metrics
	report  func(level observe.Level, message string)

	mu    sync.Mutex
	files map[string]*file
	sets  map[setID]*keySet
	// stores are by their settings, which are all plain values.
	stores map[storeID]*store
	parts  map[*Parts]struct{}
	stop   chan struct{} // of the goroutine that looks at files; nil: none runs
}

// NewRegistry makes an empty registry. report writes to the process log.
func NewRegistry(metrics *observe.Metrics, report func(level observe.Level, message string)) *Registry {
	return &Registry{
		metrics: metrics, report: report,
		files: map[string]*file{}, sets: map[setID]*keySet{}, stores: map[storeID]*store{}, parts: map[*Parts]struct{}{},
	}
}

// borrowFile gives the file at path, read if it is new. A file that is in use
// already is taken with its last good content.
func (r *Registry) borrowFile(path string) (*file, error) {
	f := r.files[path]
	if f == nil {
		at, err := stampOf(path)
		if err != nil {
			return nil, fmt.Errorf("file %q cannot be read: %w", path, bare(err))
		}
		c, err := readContent(path)
		if err != nil {
			return nil, err
		}
		f = &file{path: path, stamp: at, good: c}
		r.files[path] = f
	}
	f.borrowers++
	r.metrics.AuthFile(path) // so that a series without news lives on
	return f, nil
}

func (r *Registry) returnFile(f *file) {
	if f.borrowers--; f.borrowers == 0 {
		delete(r.files, f.path)
	}
}

// watch looks at the files every so often until nobody borrows any. mu is held.
func (r *Registry) watch(every time.Duration) {
	if r.stop != nil {
		close(r.stop)
		r.stop = nil
	}
	if len(r.files) == 0 {
		return
	}
	stop := make(chan struct{})
	r.stop = stop
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				r.look()
			}
		}
	}()
}

// look reads the files that have changed and gives their content to all that
// borrow them.
func (r *Registry) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed := false
	for _, f := range r.files {
		changed = r.reread(f) || changed
	}
	if !changed {
		return
	}
	for p := range r.parts {
		p.rebuild(r)
	}
}

// reread reads a file if it has changed; true: there is new content to serve.
func (r *Registry) reread(f *file) bool {
	at, err := stampOf(f.path)
	if err == nil && at == f.stamp {
		return false
	}
	if err != nil && f.broken && f.stamp == (stamp{}) {
		return false // said already
	}
	f.stamp = at
	c, err := readContent(f.path)
	if err != nil {
		r.refuse(f, err)
		return false
	}
	f.good, f.broken = c, false
	metrics := r.metrics.AuthFile(f.path)
	metrics.Reads.With("applied").Inc()
	metrics.Broken.Set(0)
	r.report(observe.LevelNotice, fmt.Sprintf("auth: file %q has been read again: %d consumers, %d keys", f.path, len(c.Consumers), len(c.Keys)))
	return true
}

// refuse notes that a file cannot be used; what it said before goes on.
func (r *Registry) refuse(f *file, err error) {
	f.broken = true
	metrics := r.metrics.AuthFile(f.path)
	metrics.Reads.With("refused").Inc()
	metrics.Broken.Set(1)
	r.report(observe.LevelError, "auth: "+err.Error()+"; the former content stays in force")
}

// Close ends everything. Nothing may be borrowed any more.
func (r *Registry) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop != nil {
		close(r.stop)
		r.stop = nil
	}
	for id, s := range r.sets {
		s.end()
		delete(r.sets, id)
	}
	for settings, s := range r.stores {
		s.end()
		delete(r.stores, settings)
	}
}
