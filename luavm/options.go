package luavm

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"perigee/luavm/shim"
)

// Log levels of ngx.log and of Options.Log: nginx's, smaller is graver.
const (
	LevelStderr = iota
	LevelEmerg
	LevelAlert
	LevelCrit
	LevelErr
	LevelWarn
	LevelNotice
	LevelInfo
	LevelDebug
)

// A Source is the text of a script.
type Source struct {
	Name  string // for people, stats and metrics; unique in a pool
	Chunk string // Lua's chunk name: "=access(perigee.yaml:41)" is shown as is, "@/path/file.lua" is a file
	Text  string // Lua source; bytecode is refused
	// Read gives the text anew, for VMs of Options.Fresh; nil: it is Text.
	Read func() (string, error)
	// Modules are those that the script may require; nil: any that there are.
	Modules []string
}

// A Module is a Lua library of the host's that scripts may require: "a/b" as
// "a.b". Its text is called with lualib's own table (P in lualib/init.lua), so
// it may do whatever lualib does.
type Module struct {
	Name string
	Text []byte
}

// A Clock is a time of its own for scripts: of tests, which do not wait. What
// scripts wait for passes by it; it stands still while they run.
type Clock interface {
	// Now is the time, in whole milliseconds.
	Now() time.Time
	// After calls f, on any goroutine, once d has passed by this clock. stop
	// tells whether it kept f from being called.
	After(d time.Duration, why Reason, f func()) (stop func() bool)
	// Running is told 1 before Lua runs in a VM, and -1 behind it.
	Running(n int)
}

// A Reason says who waits for a Clock.
type Reason uint8

// The reasons.
const (
	ForTimer   Reason = iota // a timer of ngx.timer
	ForSleep                 // a handler that wants nothing else
	ForTimeout               // a handler that wants something else to come first
)

// Options describe a pool of VMs. The zero value of a field means the default
// named there.
type Options struct {
	Workers     int // VMs; at least 1
	WorkerBase  int // ngx.worker.id() of the first VM
	WorkerCount int // ngx.worker.count(); Workers when 0

	CPUBudget    time.Duration // CPU time of one run between two waits; 0: no bound
	InitBudget   time.Duration // the same for Init and InitWorker; 30 s
	MemoryLimit  uint64        // Lua heap of one VM in bytes; 0: no bound
	RunMemory    uint64        // by how much one run between two waits may make it grow; 0: no bound
	Strict       bool          // scripts are not trusted: no ffi, io, os, debug, bytecode; globals of their own
	MaxSuspended int           // suspended exchanges per VM; 10000
	MaxEdits     uint32        // edits of one exchange in bytes; 4 MiB
	MaxOutput    uint32        // ngx.print's buffer of one exchange in bytes; 64 MiB

	Path   string // package.path; ";;" stands for the default; empty: the default
	CPath  string // package.cpath, the same
	Prefix string // ngx.config.prefix(), ends in "/"

	BodyTemp string // folder of request bodies that are made in files; the system's when empty

	RegexCache int    // patterns with ngx.re's option o that a VM keeps; 1024, negative: none
	RegexLimit uint32 // steps of one match, see lua_regex_match_limit; PCRE's default of ten million

	Modules []Module // libraries beside lualib's; names must not begin with ngx/

	Dicts []*Dict // ngx.shared; declared by the caller, who releases them after Done

	Limits []Limit // of perigee.limit

	Sockets *SocketSettings // of slots that are not told otherwise

	// Fresh gives each exchange a VM of its own, which reads all Lua anew: for
	// people who edit it. InitWorker runs in the Workers VMs alone.
	Fresh bool

	Init       Source // runs once in each VM, before any script; Text empty: none
	InitWorker Source // then, once the VM has its worker id
	ExitWorker Source // before a VM that ran InitWorker is closed
	// InitWorkerMayBreak logs an InitWorker that does not compile, instead of
	// not starting.
	InitWorkerMayBreak bool

	// Dial connects scripts' sockets (tcp, udp, unix, unixgram) in place of the
	// network; nil: the network. Names are its to resolve. What it gives must
	// have a descriptor.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// InitWorkerWaits lets InitWorker wait, for InitTime at most (a minute); in
	// OpenResty it cannot.
	InitWorkerWaits bool
	InitTime        time.Duration

	Clock   Clock  // nil: the machine's
	Capture uint32 // bytes of log lines kept for ngx.errlog.get_logs; 0: none

	PendingTimers int           // of ngx.timer, per VM; 1024, negative: none
	RunningTimers int           // handlers of timers under way, per VM; 256, negative: none
	Drain         time.Duration // how long they may take after SetExiting; 30 s

	Threads Threads // of ngx.run_worker_thread

	LogLevel int // ngx.log lines less grave are dropped in Lua; LevelErr when 0
	// Log takes one line of ngx.log or print, as "[lua] file:line: text". s is the
	// exchange's slot, nil outside of exchanges. line is valid during the
	// call. It may be called from several threads at once; no VM is locked.
	Log func(s *Slot, level int, line []byte)
	// Failed is told of a handler outside of exchanges that has failed, after it
	// was logged. As Log, it may be called from several threads at once.
	Failed func(err *ScriptError)
}

func (o *Options) defaults() {
	o.Workers = max(o.Workers, 1)
	if o.BodyTemp == "" {
		o.BodyTemp = os.TempDir()
	}
	if o.WorkerCount == 0 {
		o.WorkerCount = o.Workers
	}
	if o.InitBudget == 0 {
		o.InitBudget = 30 * time.Second
	}
	if o.MaxSuspended == 0 {
		o.MaxSuspended = 10000
	}
	if o.MaxEdits == 0 {
		o.MaxEdits = 4 << 20
	}
	if o.MaxOutput == 0 {
		o.MaxOutput = 64 << 20
	}
	if o.RegexCache == 0 {
		o.RegexCache = 1024
	}
	if o.InitTime == 0 {
		o.InitTime = time.Minute
	}
	if o.PendingTimers == 0 {
		o.PendingTimers = 1024
	}
	if o.RunningTimers == 0 {
		o.RunningTimers = 256
	}
	if o.Threads.VMs == 0 {
		o.Threads.VMs = 10
	}
	if o.Drain == 0 {
		o.Drain = 30 * time.Second
	}
	if o.Sockets == nil {
		o.Sockets = defaultSockets
	}
	if o.LogLevel == 0 {
		o.LogLevel = LevelErr
	}
	if o.Log == nil {
		o.Log = func(*Slot, int, []byte) {}
	}
	if o.Failed == nil {
		o.Failed = func(*ScriptError) {}
	}
}

// strings are those of init.lua's argument.
func (o *Options) strings() map[string]string {
	return map[string]string{
		"path": o.Path, "cpath": o.CPath, "prefix": o.Prefix, "body_temp": o.BodyTemp,
		"regex_cache": strconv.Itoa(o.RegexCache), "regex_limit": strconv.FormatUint(uint64(o.RegexLimit), 10),
		"thread_pools": o.Threads.names(), "kind": "", "limits": packedLimits(o.Limits),
	}
}

func (o *Options) limits() shim.Limits {
	return shim.Limits{Memory: o.MemoryLimit, Run: o.RunMemory, Edits: o.MaxEdits, Output: o.MaxOutput}
}

// policy is how sandbox.lua is told what a script may do; empty: all.
func (o *Options) policy(src Source) string {
	kind := "open"
	if o.Strict {
		kind = "strict"
	}
	if !o.Strict && src.Modules == nil {
		return ""
	}
	if src.Modules != nil && len(src.Modules) == 0 {
		return kind + "\n-" // a name that no module has: none may be required
	}
	return strings.Join(append([]string{kind}, src.Modules...), "\n")
}
