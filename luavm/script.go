package luavm

// A Script is a handler compiled in every VM of a pool. It is shared and
// immutable; handlers are called without arguments.
type Script struct {
	pool   *Pool
	source Source
	index  int
	reads  learned
}

// Name is the source's name.
func (s *Script) Name() string { return s.source.Name }

// Chunk is the source's chunk name as Lua shows it in messages.
func (s *Script) Chunk() string { return s.source.Chunk }
