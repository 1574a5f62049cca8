package luavm

import (
	"errors"
	"slices"
	"unsafe"

	"perigee/luavm/shim"
)

// A Variable is one of the nginx variables that the host fills in. The numbers
// are PG_VAR_* in perigee_ffi.h.
type Variable uint8

// Variables. A script writes VarURI, VarArgs, VarMethod and VarHost through
// edits; Var then shows what it wrote.
const (
	VarURI                  Variable = iota // decoded, normalized path
	VarArgs                                 // raw query without '?'
	VarRequestURI                           // as the client sent it
	VarMethod                               //
	VarHost                                 // lower case, without port
	VarScheme                               // http or https
	VarProtocol                             // HTTP/1.1
	VarRemoteAddr                           // numeric, without port
	VarRemotePort                           //
	VarServerAddr                           //
	VarServerPort                           //
	VarServerName                           //
	VarRequestID                            //
	VarUpstreamAddr                         // "a, b" after a retry, as in nginx
	VarUpstreamStatus                       //
	VarUpstreamResponseTime                 //
	VarRoute                                // name of the matched route
	VarDefaultType                          // Content-Type of an answer that names none
	VarBodyFile                             // the file that the request's body is in
	VarDocumentRoot                         // where files of the route are looked for
	VarRawHead                              // the client's head, where Input.Head is another
	VarTraceparent                          // W3C's, of the request; trace_id and span_id are parts of it

	variableCount
)

// More variables than shim.Slot has, or fewer, do not compile.
var _ [shim.VarCount]byte = [variableCount]byte{}

// ErrSlotFull says that the variables of one exchange use more memory than a
// slot may have.
var ErrSlotFull = errors.New("luavm: the variables of one exchange take more than 16 MiB")

// SetVar copies value into the slot. It crosses into C only to grow the
// slot's memory. Not during a run. An empty VarArgs is a request without a
// query: nil in Lua, as in nginx.
func (s *Slot) SetVar(v Variable, value []byte) error {
	if v == VarArgs && len(value) == 0 {
		s.UnsetVar(v)
		return nil
	}
	return s.store(&s.c.Vars[v], value)
}

// SetVarString is SetVar with a string.
func (s *Slot) SetVarString(v Variable, value string) error {
	return s.SetVar(v, unsafe.Slice(unsafe.StringData(value), len(value)))
}

// A VarValue is what a variable is to be.
type VarValue struct {
	Var   Variable
	Value []byte
}

// SetVars is SetVar for each of list: many short copies, so the arena is asked for
// room once.
func (s *Slot) SetVars(list []VarValue) error {
	c := s.c
	need := uint64(c.ArenaLen)
	for i := range list {
		need += uint64(len(list[i].Value)) + 1
	}
	if c.ArenaLen > 0 && slices.ContainsFunc(list, func(v VarValue) bool { return c.Vars[v.Var].P != nil }) {
		return s.setEach(list) // over what they were, where that is long enough
	}
	if need > uint64(c.ArenaCap) && !c.GrowArena(need) {
		return s.setEach(list) // some may fit
	}
	free := unsafe.Slice((*byte)(c.Arena), int(c.ArenaCap))[c.ArenaLen:]
	for i := range list {
		value, v := list[i].Value, list[i].Var
		if len(value) == 0 && v == VarArgs {
			continue
		}
		c.Vars[v] = shim.Str{P: unsafe.Pointer(unsafe.SliceData(free)), N: uint32(len(value))}
		free = free[copy(free, value)+1:]
	}
	c.ArenaLen = c.ArenaCap - uint32(len(free))
	return nil
}

func (s *Slot) setEach(list []VarValue) error {
	var err error
	for i := range list {
		if e := s.SetVar(list[i].Var, list[i].Value); e != nil {
			err = e
		}
	}
	return err
}

// UnsetVar makes the variable nil in Lua.
func (s *Slot) UnsetVar(v Variable) { s.c.Vars[v] = shim.Str{} }

// Var is the variable as it stands, after edits; nil when it is not set, or
// deferred. The memory is the slot's: valid until the next run or SetVar.
func (s *Slot) Var(v Variable) []byte { return s.c.Vars[v].Bytes() }

// ResetVars forgets all variables and extra variables. Release does it too.
func (s *Slot) ResetVars() {
	clear(s.c.Vars[:])
	s.c.ArenaLen, s.c.ExtraN, s.c.Unfilled = 0, 0, 0
}

// store copies value behind what the arena holds, or over the old value.
//
// Every string takes one byte more than it has, as in C: an empty one at the
// very end would point outside, and growing would not move it.
func (s *Slot) store(at *shim.Str, value []byte) error {
	c := s.c
	to := at.P
	if to == nil || uint64(len(value)) > uint64(at.N) {
		need := uint64(c.ArenaLen) + uint64(len(value)) + 1
		if need > uint64(c.ArenaCap) && !c.GrowArena(need) {
			return ErrSlotFull
		}
		to = unsafe.Add(c.Arena, c.ArenaLen)
		c.ArenaLen = uint32(need)
	}
	copy(unsafe.Slice((*byte)(to), len(value)), value)
	at.P, at.N = to, uint32(len(value))
	return nil
}

// extras are the name and value pairs, two Str each.
func (s *Slot) extras() []shim.Str {
	return unsafe.Slice((*shim.Str)(s.c.Extra), 2*int(s.c.ExtraN))
}

// SetExtra sets a variable that a script may also write: what the
// configuration's variables define, captures ("1".."9"). nil makes it nil in
// Lua, but known. Names are compared without case in Lua; here name must be
// in lower case.
func (s *Slot) SetExtra(name string, value []byte) error {
	at, err := s.extra(name)
	if err != nil {
		return err
	}
	if value == nil {
		s.extras()[at] = shim.Str{}
		return nil
	}
	// growing the arena moves what extras point to, not the pairs
	return s.store(&s.extras()[at], value)
}

// extra finds or makes the pair and returns where its value is.
func (s *Slot) extra(name string) (int, error) {
	c := s.c
	for i, e := range s.extras() {
		if i%2 == 0 && string(e.Bytes()) == name {
			return i + 1, nil
		}
	}
	if c.ExtraN == c.ExtraCap && !c.GrowExtra() {
		return 0, ErrSlotFull
	}
	at := 2 * int(c.ExtraN)
	pair := unsafe.Slice((*shim.Str)(c.Extra), at+2)
	pair[at], pair[at+1] = shim.Str{}, shim.Str{}
	c.ExtraN++
	if err := s.store(&pair[at], unsafe.Slice(unsafe.StringData(name), len(name))); err != nil {
		c.ExtraN--
		return 0, err
	}
	return at + 1, nil
}

// Extra is what SetExtra or a script set; ok is false for an unknown name,
// value nil for one that is known and nil. Memory as for Var.
func (s *Slot) Extra(name string) (value []byte, ok bool) {
	list := s.extras()
	for i := 0; i < len(list); i += 2 {
		if string(list[i].Bytes()) == name {
			return list[i+1].Bytes(), true
		}
	}
	return nil, false
}

// SetBodyBuffer says up to which size bodies that scripts make are kept in
// memory.
func (s *Slot) SetBodyBuffer(n int64) { s.c.BodyBuffer = n }

// Numbers are the counters and times of an exchange that scripts can read.
type Numbers struct {
	StartTime          float64 // epoch seconds, ngx.req.start_time
	StartNS            int64   // CLOCK_MONOTONIC when the first byte came
	BytesSent          int64
	BodyBytesSent      int64
	RequestLength      int64 // bytes of head and body read
	Connection         uint64
	ConnectionRequests uint64 // this one included
	HTTPMinor          int32  // HTTP/1.minor; 20: HTTP/2
}

// SetAttempt tells the balancer phase how many attempts there were, the next
// included, how many there may be, and the status that the last one ended
// with; 0: there was none.
func (s *Slot) SetAttempt(tries, most, status int) {
	s.c.PeerTries, s.c.PeerMost, s.c.PeerStatus = int32(tries), int32(most), int32(status)
}

// SetNumbers copies n into the slot.
func (s *Slot) SetNumbers(n *Numbers) {
	c := s.c
	c.StartTime, c.StartNS = n.StartTime, n.StartNS
	if s.begun != 0 {
		c.StartTime = s.begun
	}
	c.BytesSent, c.BodyBytesSent = n.BytesSent, n.BodyBytesSent
	c.RequestLength = n.RequestLength
	c.Connection, c.ConnectionRequests = n.Connection, n.ConnectionRequests
	c.HTTPMinor = n.HTTPMinor
}
