package luavm

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"perigee/luavm/shim"
)

// Dicts are the shared dictionaries (ngx.shared.NAME) of a process, by name.
// They belong to the process, their use to generations:
//
//	Dicts --name--> Dict <--- generation 1 (Options.Dicts) <--- its VMs
//	                  ^------ generation 2
//
// Each generation declares what it names and releases it when its last VM is
// closed. A dictionary declared again with the same size is the same one, so
// its content outlives a reload as long as generations overlap; with another
// size the name gets a new, empty one, and the old one lives on, unnamed,
// until those who have it release it. Safe for any goroutine.
type Dicts struct {
	mu     sync.Mutex
	byName map[string]*Dict
}

// A Dict is one shared dictionary.
type Dict struct {
	name  string
	size  int64
	owner *Dicts
	users int // guarded by owner.mu
	c     *shim.Dict
}

// NewDicts returns a registry without dictionaries.
func NewDicts() *Dicts { return &Dicts{byName: map[string]*Dict{}} }

// Declare returns the dictionary of that name and size in bytes (from 8192
// on), making it if needed. Each call is paired with one Release.
func (d *Dicts) Declare(name string, size int64) (*Dict, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	have := d.byName[name]
	if have != nil && have.size == size {
		have.users++
		return have, nil
	}
	c, err := shim.OpenDict(name, size)
	if err != nil {
		return nil, fmt.Errorf("luavm: shared dictionary %q: %w", name, err)
	}
	made := &Dict{name: name, size: size, owner: d, users: 1, c: c}
	d.byName[name] = made
	return made, nil
}

// Name is the name in ngx.shared.
func (d *Dict) Name() string { return d.name }

// Size is the declared size in bytes.
func (d *Dict) Size() int64 { return d.size }

// hold is one Declare more.
func (d *Dict) hold() {
	d.owner.mu.Lock()
	d.users++
	d.owner.mu.Unlock()
}

// Release gives the dictionary back; the last one frees its memory. No VM
// that was given it may run after that.
func (d *Dict) Release() {
	d.owner.mu.Lock()
	defer d.owner.mu.Unlock()
	d.users--
	switch {
	case d.users < 0:
		panic("BUG: shared dictionary " + d.name + " released more often than declared")
	case d.users > 0:
		return
	}
	if d.owner.byName[d.name] == d {
		delete(d.owner.byName, d.name)
	}
	d.c.Close()
}

// DictStats are the counters of the dictionary that has a name now.
type DictStats struct {
	Name string
	shim.DictStats
}

// Stats returns the counters of all named dictionaries, in order of names.
func (d *Dicts) Stats() []DictStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]DictStats, 0, len(d.byName))
	for name, dict := range d.byName {
		all = append(all, DictStats{name, dict.c.Stats()})
	}
	slices.SortFunc(all, func(a, b DictStats) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// shimDicts are the C sides of dicts, for a state.
func shimDicts(dicts []*Dict) []*shim.Dict {
	list := make([]*shim.Dict, len(dicts))
	for i, d := range dicts {
		list[i] = d.c
	}
	return list
}
