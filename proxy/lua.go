package proxy

import (
	"path/filepath"
	"runtime"

	"perigee/luavm"
	"perigee/proxy/config"
	"perigee/proxy/exchange"
	"perigee/proxy/observe"
	"perigee/proxy/script"
)

// shared is what the VMs of a pool share with others.
type shared struct {
	dicts  []*luavm.Dict
	limits []luavm.Limit
}

// newPool makes the VMs' pool of a configuration; scripts are added by the
// routes, then Start opens the VMs.
func newPool(file *config.File, state *State, with shared) (*luavm.Pool, error) {
	c := &file.Lua
	sockets, err := script.Sockets(c, nil)
	if err != nil {
		return nil, err
	}
	o := luavm.Options{
		Sockets:     sockets,
		Dicts:       with.dicts,
		Limits:      with.limits,
		Workers:     workers(file),
		CPUBudget:   c.CPUBudget.Std(),
		MemoryLimit: uint64(memoryLimit(file)),
		RunMemory:   uint64(c.RequestMemory),
		Strict:      c.Sandbox == script.Strict,
		Capture:     uint32(c.CaptureErrorLog),
		Fresh:       !c.CodeCache,
		Path:        c.Path, CPath: c.CPath,
		InitWorkerWaits: c.InitWorkerWaits, InitTime: c.TotalTime.Std(),
		PendingTimers: c.Timers.Pending, RunningTimers: c.Timers.Running,
		Threads:    c.Threads.Options(),
		Drain:      max(c.Drain.Std(), 1), // luavm's 0 is its default
		RegexCache: c.Regex.CacheEntries, RegexLimit: uint32(c.Regex.MatchLimit),
		BodyTemp: file.Limits.BodyTemp,
		Prefix:   filepath.Clean(file.Root()) + "/",
		LogLevel: luaLevel(file.Log.Level),
		Clock:    state.Clock,
		Dial:     state.Dial,
		Log: func(s *luavm.Slot, level int, line []byte) {
			var rec *observe.Record
			if s != nil {
				if ex, ok := s.Owner.(*exchange.Exchange); ok {
					rec = &ex.Record
				} else if context := outside[s.Phase()]; context != "" {
					line = append(line[:len(line):len(line)], ", context: "+context...)
				}
			}
			state.Log.Relay(observe.Level(level), rec, line)
		},
		Failed: state.failedOutside,
	}
	if o.PendingTimers == 0 {
		o.PendingTimers = -1
	}
	if o.RunningTimers == 0 {
		o.RunningTimers = -1
	}
	if o.RegexCache == 0 {
		o.RegexCache = -1 // none; luavm's 0 is its default
	}
	if c.Init != nil {
		o.Init = script.Lua(c.Init, "init", "init_by_lua")
	}
	if c.ExitWorker != nil {
		o.ExitWorker = script.Lua(c.ExitWorker, "exit_worker", "exit_worker_by_lua")
	}
	if w := c.InitWorker; w != nil {
		o.InitWorker = script.Lua(w, "init_worker", "init_worker_by_lua")
		o.InitWorkerMayBreak = c.BrokenScripts == script.AnswerBroken
		if w.Missing != "" {
			state.problem("init_worker_by_lua error: " + w.Missing)
		}
	}
	return luavm.NewPool(o)
}

// captureLog lets the scripts of pool read the log, if they are configured to:
// what they log themselves they have already.
func (s *State) captureLog(pool *luavm.Pool) {
	if !pool.Captures() {
		s.Log.SetTap(nil)
		return
	}
	s.Log.SetTap(func(level observe.Level, line []byte) { pool.Capture(int(level), line) })
}

// outside are the contexts of log lines that belong to no exchange, as nginx
// names them.
var outside = map[luavm.Phase]string{
	luavm.PhaseTimer: "ngx.timer", luavm.PhaseSSLCert: "ssl_certificate_by_lua*",
	luavm.PhaseSSLClientHello: "ssl_client_hello_by_lua*",
}

// declareDicts gets the shared dictionaries of a configuration; the caller
// releases them.
func declareDicts(file *config.File, state *State) (dicts []*luavm.Dict, err error) {
	for name, size := range file.Lua.SharedDicts {
		d, err := state.Dicts.Declare(name, int64(size))
		if err != nil {
			return dicts, err
		}
		dicts = append(dicts, d)
	}
	return dicts, nil
}

// workers is how many VMs a generation has: one per core that the cgroup gives.
func workers(file *config.File) int {
	if file.Workers > 0 {
		return file.Workers
	}
	return runtime.GOMAXPROCS(0)
}

// defaultMemory is lua.memory_limit when the configuration says nothing and no
// cgroup is tighter.
const defaultMemory = 256 << 20

// memoryLimit is a VM's heap: as configured, else the default, or less where a
// cgroup's limit shared by all VMs of two generations would be exceeded.
func memoryLimit(file *config.File) int64 {
	if file.Lua.MemoryLimit > 0 {
		return int64(file.Lua.MemoryLimit)
	}
	limit := int64(defaultMemory)
	if cgroup := cgroupMemory(); cgroup > 0 {
		limit = min(limit, cgroup/int64(8*workers(file)))
	}
	return limit
}

var levels = map[config.LogLevel]int{
	"emerg": luavm.LevelEmerg, "alert": luavm.LevelAlert, "crit": luavm.LevelCrit,
	"error": luavm.LevelErr, "warn": luavm.LevelWarn, "notice": luavm.LevelNotice,
	"info": luavm.LevelInfo, "debug": luavm.LevelDebug,
}

func luaLevel(l config.LogLevel) int { return levels[l] }
