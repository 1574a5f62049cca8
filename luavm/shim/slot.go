package shim

import "unsafe"

// A Str is text that somebody else owns: Go memory lent for one Resume, or C
// memory of a slot. P is nil for "not set".
type Str struct {
	P unsafe.Pointer
	N uint32
	_ uint32
}

// Bytes is the text without a copy; it lives as long as its owner says.
func (s Str) Bytes() []byte { return unsafe.Slice((*byte)(s.P), int(s.N)) }

// Parts of a Slot that Go may fill in when a script first reads them. PG_PART_*.
const (
	PartRequest = 1
	PartTries   = 2
)

// A Filler fills in the unfilled of parts, of the slot of that ID, which runs. It
// is called in the middle of a Resume, by its thread. False: memory is short.
type Filler func(slot, parts uint32) bool

// InCount is how many texts are lent at once: those of Inputs. PG_IN_COUNT.
const InCount = 4

// VarCount is how many variables Go fills. PG_VAR_COUNT.
const VarCount = 22

// A Slot is pg_slot: one exchange's seat in a state, in C memory. See
// perigee_ffi.h for what each field means and who writes it.
type Slot struct {
	In                 [InCount]Str
	Vars               [VarCount]Str
	Arena              unsafe.Pointer
	ArenaLen, ArenaCap uint32
	ID, Gen            uint32
	Phase              uint32
	Flags              uint32
	Status             int32
	ExitCode           int32
	HasExit            uint32
	Log                unsafe.Pointer
	LogLen, LogCap     uint32
	LogDone            uint32
	Out                unsafe.Pointer
	OutLen, OutCap     uint32
	ChunkLast          int32
	ChunkSet           int32
	StartTime          float64
	StartNS            int64
	BytesSent          int64
	BodyBytesSent      int64
	RequestLength      int64
	Connection         uint64
	ConnectionRequests uint64
	BodyBuffer         int64
	HTTPMinor          int32
	PeerTries          int32
	PeerMost           int32
	PeerStatus         int32
	CtxKey             uint32
	CtxRef             uint32
	CtxLeftN           uint32
	CtxLeft            [12]uint32
	Unfilled           uint32
	ExtraN, ExtraCap   uint32
	Extra              unsafe.Pointer
	Sockets            *SocketConf
}

// Printed is what ngx.print has gathered; C's memory.
func (slot *Slot) Printed() []byte {
	return unsafe.Slice((*byte)(slot.Out), int(slot.OutLen))
}

// A Thread is pg_thread: a light thread of a Slot, in C memory.
type Thread struct {
	Op            uint32
	OpInt, OpInt2 int32
	OpNum, OpNum2 float64
	OpStr, OpStr2 Str
	Res           int32
	ResNum        float64
	SlotID, Index uint32
	State         uint32
	Hidden        uint32
	Serial        uint32
	Ref           int32
	Co            unsafe.Pointer
	Run           unsafe.Pointer
	Next          *Thread
	Reading       unsafe.Pointer
	ReadingAt     uint32
}

// States of a Thread. PG_THREAD_* in perigee_ffi.h.
const (
	ThreadWaiting = 3 // its op is with Go
	ThreadKilled  = 5 // dead, its op is still with Go
)

// A Note is pg_note: what a run tells beside its ops.
type Note struct {
	Kind, A, B, C uint32
	Num           float64
}

// Kinds of note. PG_NOTE_* in perigee_ffi.h.
const (
	NoteCancel  = 1  // A, B: slot and index of a thread whose op is to end early
	NoteWake    = 2  // the same is to end well; Num: Serial of the wait
	NoteTimer   = 3  // A: the timer's id; Num: seconds
	NoteClose   = 4  // A: handle of a socket out of use
	NoteSession = 5  // A: of a TLS session; Num: how many more hold it
	NoteRetire  = 9  // this VM is to be replaced
	NotePipe    = 10 // A: of a child process that Lua let go of
	NoteGrant   = 8  // as NoteWake, of a semaphore's waiter
)

// A VM is pg_vm: what Lua sees of its state.
type VM struct {
	Slot        unsafe.Pointer
	Thread      *Thread
	Now         float64
	Fixed       float64
	WorkerID    int32
	WorkerCount int32
	Exiting     int32
	LogLevel    int32
	Crit        int32

	TimersRunning, TimersMaxRunning, TimersMaxPending int32
}

// Inputs are the slices lent to one Resume. C keeps none of them.
type Inputs struct {
	Head []byte // request head: request line, fields, CRLF CRLF
	Resp []byte // response head in the same form; empty before there is one
	Body []byte // request body, once read
	Data []byte // body_filter: the chunk; else the result data of an op
}

// A Call is one entry into Lua: Run's handler Ref starts in Slot, or with Ref
// negative goes on with Thread, whose op is complete.
type Call struct {
	Slot   *Slot
	Run    *Run
	Ref    int32
	Thread *Thread
	Budget int64 // CPU time in ns; 0: no bound
}

// A Status is how a run ended. PG_DONE and following in shim.h.
type Status int32

// The ends of a run.
const (
	Done     Status = iota // the handler returned
	Wait                   // Slot.Op says for what
	Exit                   // ngx.exit; Slot.ExitCode
	Error                  // Lua error; State.Failure has the text
	Budget                 // CPU budget used up, unwound as a Lua error
	Memory                 // memory limit, unwound as a Lua error
	Poisoned               // abandoned in the middle: never touch the State again
)

// Figures are what a State has used.
type Figures struct {
	Memory, Peak uint64 // bytes of Lua heap
	RanNS        int64  // wall time in Resume
	Crossings    uint64 // entries from Go
}

// Limits bounds one state and its slots, in bytes; zero memory means none.
type Limits struct {
	Memory uint64 // Lua heap
	Run    uint64 // its growth in one Resume
	Edits  uint32 // edit log of a slot
	Output uint32 // output buffered in a slot
}

// A Module is one Lua file of lualib.
type Module struct {
	Name string // "ngx/core"
	Text []byte
}
