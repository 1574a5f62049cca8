//go:build !cgo || !luajit

package shim

import "errors"

var errNoLua = errors.New("luavm: this program was built without LuaJIT; build it with cgo and -tags luajit (`make build`)")

// A State cannot be had in this build.
type State struct{}

// A Run cannot be had in this build.
type Run struct{}

// Open refuses: this build has no LuaJIT.
func Open(Limits) (*State, error) { return nil, errNoLua }

// StartWatchdog refuses: this build has no LuaJIT.
func StartWatchdog(int64, int64) error { return errNoLua }

// Version is empty: this build has no LuaJIT.
func Version() string { return "" }

// RegexJIT is false: this build has no PCRE2.
func RegexJIT() bool { return false }

// NewLimitCounts makes counters that nobody counts in.
func NewLimitCounts() *LimitCounts { return &LimitCounts{memory: new([limitOutcomes]uint64)} }

// Metrics are none: this build has no scripts.
func Metrics() []Metric { return nil }

// Jumps is false: this build has no watchdog.
func Jumps() bool { return false }

// Hardened is false: this build has no LuaJIT.
func Hardened() bool { return false }

// Declarations is empty: this build has no FFI.
func Declarations() string { return "" }

// Compile refuses: this build has no LuaJIT.
func Compile([]Module) ([]Module, error) { return nil, errNoLua }

// Nothing does nothing.
func Nothing() {}

// An Ear is of no use: this build has no sockets.
type Ear struct{}

// NewEar makes an ear.
func NewEar() *Ear { return &Ear{} }

// Hear does nothing.
func (*Ear) Hear() {}

// Free does nothing.
func (*Ear) Free() {}

// Listen does nothing.
func (*Sock) Listen(*Ear) {}

// The methods below have no State to be called on.

// FillBy does nothing.
func (*State) FillBy(Filler) {}

// Boot does nothing.
func (*State) Boot([]byte, []Module, map[string]string) error { return errNoLua }

// Close does nothing.
func (*State) Close() {}

// Abandon does nothing.
func (*State) Abandon() {}

// Compile refuses.
func (*State) Compile(string, string, string) (int32, error) { return 0, errNoLua }

// TimerHandler is none.
func (*State) TimerHandler() int32 { return -1 }

// Eval refuses.
func (*State) Eval(string) (string, error) { return "", errNoLua }

// Collect does nothing.
func (*State) Collect() {}

// Resume fails.
func (*State) Resume(*Call, *Inputs) Status { return Error }

// RunNS is zero.
func (*State) RunNS() int64 { return 0 }

// Failure says why.
func (*State) Failure() (string, string) { return errNoLua.Error(), "" }

// Lines is empty.
func (*State) Lines() []byte { return nil }

// DropLines drops nothing.
func (*State) DropLines() uint32 { return 0 }

// Figures are zero.
func (*State) Figures() Figures { return Figures{} }

// Stirred is false.
func (*State) Stirred() bool { return false }

// Starved is false.
func (*State) Starved() bool { return false }

// Allow does nothing.
func (*State) Allow(uint64) {}

// VM is nil.
func (*State) VM() *VM { return nil }

// Idle is nil.
func (*State) Idle() *Slot { return nil }

// NewSlot is nil.
func (*State) NewSlot(uint32) *Slot { return nil }

// FreeSlot does nothing.
func FreeSlot(*Slot) {}

// Shrink does nothing.
func (*Slot) Shrink() {}

// GrowArena has no room.
func (*Slot) GrowArena(uint64) bool { return false }

// GrowExtra has no room.
func (*Slot) GrowExtra() bool { return false }

// Print has no room.
func (*Slot) Print([]byte) bool { return false }

// NewRun is nil.
func NewRun() *Run { return nil }

// FreeRun does nothing.
func (*State) FreeRun(*Run) {}

// FreeLostRun does nothing.
func FreeLostRun(*Run) {}

// DropRun does nothing.
func (*State) DropRun(*Slot, *Run) {}

// TakeFresh is nil.
func (*Run) TakeFresh() *Thread { return nil }

// Entry is nil.
func (*Run) Entry() *Thread { return nil }

// Prepare is nil.
func (*State) Prepare(*Slot, *Run) *Thread { return nil }

// Recycle does nothing.
func Recycle(*Slot, *Thread) {}

// Notes is nil.
func (*State) Notes() []Note { return nil }

// DropNotes does nothing.
func (*State) DropNotes() {}

// SetPhase does nothing.
func (*Run) SetPhase(uint32) {}

// Follow has no run to follow.
func (*Run) Follow(int32, uint32) {}

// WentOn is false: nothing ran.
func (*Run) WentOn() (first int64, log uint32, ok bool) { return 0, 0, false }

// Forget does nothing.
func (*State) Forget(*Slot) {}

// A Ring cannot be had in this build.
type Ring struct{}

// NewRing refuses: this build has no LuaJIT.
func NewRing(uint32) *Ring { return nil }

// Put does nothing.
func (*Ring) Put(int, float64, []byte) {}

// Capture does nothing.
func (*State) Capture(*Ring) {}

// SockAt is nil.
func SockAt(float64) *Sock { return nil }

// HasSockets is false.
func (*State) HasSockets(*Slot) bool { return false }

// ShutSockets does nothing.
func (*State) ShutSockets(*Slot) {}

// SweepSockets has none.
func (*State) SweepSockets(bool) int { return 0 }

// KeptSockets is zero.
func (*State) KeptSockets() uint32 { return 0 }

// NewSocketConf is nil.
func NewSocketConf(SocketConf) *SocketConf { return nil }

// FreeSocketConf does nothing.
func FreeSocketConf(*SocketConf) {}
