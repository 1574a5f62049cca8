package auth

import (
	"fmt"
	"sort"
	"sync/atomic"

	"perigee/proxy/observe"
	"perigee/proxy/unit"
)

// Parts is what the routes of one configuration share: consumers, keys, issuers
// and the tokens that were verified. A snapshot makes one and closes it.
type Parts struct {
	registry    *Registry
	directories map[string]*directory // by keys_file; "": none
	issuers     map[string]*issuer
	names       []string // of issuers, sorted
	verifier    verifier
	files       []*file
	sets        []*keySet
	stores      map[*APIKey]*store
}

// directory joins the sources of keys that one route knows.
type directory struct {
	consumers map[string]Consumer // of the configuration
	files     []*file
	current   atomic.Pointer[table]
}

// build makes the table anew. The registry is locked.
func (d *directory) build() error {
	t := newTable()
	consumers := make(map[string]Consumer, len(d.consumers))
	for name, c := range d.consumers {
		consumers[name] = c
	}
	var keys []FileKey
	for _, f := range d.files {
		for name, c := range f.good.Consumers {
			if _, twice := consumers[name]; twice {
				return fmt.Errorf("consumer %q of file %q is there already", name, f.path)
			}
			consumers[name] = c
		}
		keys = append(keys, f.good.Keys...)
	}
	if err := t.add(consumers, keys); err != nil {
		return err
	}
	d.current.Store(t)
	return nil
}

// NewParts borrows and makes everything that routes ask for. Nothing is left
// borrowed after an error, which is a *PartError.
// stores are the entries of redis.
func NewParts(r *Registry, consumers map[string]Consumer, s *Settings, routes []*Config, stores map[string]Store) (_ *Parts, err error) {
	p := &Parts{registry: r, directories: map[string]*directory{}, issuers: map[string]*issuer{}, stores: map[*APIKey]*store{}}
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() {
		if err != nil {
			p.giveBack()
		}
	}()
	var shared []*file
	if s.ConsumersFile != "" {
		f, err := p.borrowFile(s.ConsumersFile)
		if err != nil {
			return nil, &PartError{Path: "auth.consumers_file", Err: err}
		}
		shared = append(shared, f)
	}
	paths := []string{""}
	for _, c := range routes {
		if c.APIKey != nil && c.APIKey.KeysFile != "" {
			paths = append(paths, c.APIKey.KeysFile)
		}
		if c.APIKey != nil && c.APIKey.Redis != nil {
			p.stores[c.APIKey] = r.borrowStore(*c.APIKey.Redis, stores)
		}
	}
	for _, path := range paths {
		if p.directories[path] != nil {
			continue
		}
		d := &directory{consumers: consumers, files: shared[:len(shared):len(shared)]}
		if path != "" {
			f, err := p.borrowFile(path)
			if err != nil {
				return nil, &PartError{File: path, Err: err}
			}
			d.files = append(d.files, f)
		}
		if err := d.build(); err != nil {
			return nil, &PartError{Path: "consumers", File: path, Err: err}
		}
		p.directories[path] = d
	}
	if err := p.makeIssuers(s); err != nil {
		return nil, err
	}
	p.verifier.cache = newTokenCache(s.TokenCache)
	r.parts[p] = struct{}{}
	if len(p.files) > 0 {
		r.watch(s.Reread.Std())
	}
	return p, nil
}

// PartError says which part of the configuration cannot be had.
type PartError struct {
	Path string // in the configuration; "": the keys_file of File
	File string
	Err  error
}

// Error implements error.
func (e *PartError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *PartError) Unwrap() error { return e.Err }

func (p *Parts) borrowFile(path string) (*file, error) {
	f, err := p.registry.borrowFile(path)
	if err == nil {
		p.files = append(p.files, f)
	}
	return f, err
}

func (p *Parts) makeIssuers(s *Settings) error {
	for name := range s.Issuers {
		p.names = append(p.names, name)
	}
	sort.Strings(p.names)
	for _, name := range p.names {
		i := &issuer{name: name, config: s.Issuers[name], types: []string{"", "jwt", "at+jwt"}}
		if len(i.config.Types) > 0 {
			i.types = nil
			for _, typ := range i.config.Types {
				i.types = append(i.types, kind(typ))
			}
		}
		keys, at, err := inlineKeys(&i.config)
		if err != nil {
			return &PartError{Path: unit.Join("auth.issuers", name) + at, Err: err}
		}
		i.inline = keys
		if i.config.JWKS != nil {
			if i.set, err = p.borrowSet(*i.config.JWKS); err != nil {
				return &PartError{Path: unit.Join("auth.issuers", name) + ".jwks.ca", Err: err}
			}
		}
		p.issuers[name] = i
	}
	return nil
}

func (p *Parts) borrowSet(settings JWKS) (*keySet, error) {
	r, id := p.registry, setID{settings}
	s := r.sets[id]
	metrics := r.metrics.KeySet(settings.URL)
	if s == nil {
		var err error
		if s, err = newKeySet(id, metrics, r.report); err != nil {
			return nil, err
		}
		r.sets[id] = s
	}
	s.borrowers++
	p.sets = append(p.sets, s)
	return s, nil
}

// borrowStore gives the store of some settings. mu is held.
func (r *Registry) borrowStore(c Redis, stores map[string]Store) *store {
	from := stores[c.Store]
	id := storeID{c, from.Digest}
	s := r.stores[id]
	if s == nil {
		s = newStore(id, from, r.report)
		r.stores[id] = s
	}
	s.borrowers++
	return s
}

// rebuild makes the tables of files that have changed. The registry is locked.
func (p *Parts) rebuild(r *Registry) {
	for path, d := range p.directories {
		if len(d.files) == 0 {
			continue
		}
		if err := d.build(); err != nil {
			if path == "" {
				path = d.files[0].path
			}
			r.metrics.AuthFile(path).Reads.With("refused").Inc()
			r.metrics.AuthFile(path).Broken.Set(1)
			r.report(observe.LevelError, fmt.Sprintf("auth: file %q: %s; the former content stays in force", path, err))
		}
	}
}

// Close gives back what was borrowed. p may be nil.
func (p *Parts) Close() {
	if p == nil {
		return
	}
	p.registry.mu.Lock()
	defer p.registry.mu.Unlock()
	p.giveBack()
}

func (p *Parts) giveBack() {
	r := p.registry
	delete(r.parts, p)
	for _, f := range p.files {
		r.returnFile(f)
	}
	for _, s := range p.sets {
		if s.borrowers--; s.borrowers == 0 {
			s.end()
			delete(r.sets, s.id)
		}
	}
	for _, s := range p.stores {
		if s.borrowers--; s.borrowers == 0 {
			s.end()
			delete(r.stores, s.id)
		}
	}
	p.files, p.sets, p.stores = nil, nil, nil
	if len(r.files) == 0 {
		r.watch(0)
	}
}
