//go:build cgo && luajit

package luavm

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// t is what the script leaves, compared as text.
var pipeCases = []struct{ name, text, want string }{
	{"lines, then the end", `
local p = pipe.spawn({"printf", "a\\r\\nb\\nc"})
t = {p:stdout_read_line(), p:stdout_read_line(), p:stdout_read_line()}`, "a b nil closed c"},
	{"all of it", `
local p = pipe.spawn("echo one; echo two >&2") t = {p:stdout_read_all(), p:stderr_read_all(), p:stdout_read_all()}`, "one\n two\n "},
	{"bytes and any", `
local p = pipe.spawn({"printf", "abcdef"})
t = {p:stdout_read_bytes(2), p:stdout_read_any(3), p:stdout_read_bytes(4)} t[6] = p:stdout_read_bytes(0)`, "ab cde nil closed f "},
	{"through a filter", `
local p = pipe.spawn({"cat"}) t[1] = p:write({"hello ", "world\n"}) t[2] = p:stdout_read_line()
t[3] = p:write(42) t[4] = p:shutdown("stdin") t[5] = p:stdout_read_all() t[6], t[7] = p:write("x")`, "12 hello world 2 true 42 nil closed"},
	{"more than a pipe holds", `
local p = pipe.spawn({"cat"}) local text = string.rep("0123456789abcdef", 20000)
local co = ngx.thread.spawn(function() return p:stdout_read_bytes(#text) end)
t[1] = p:write(text) local _, back = ngx.thread.wait(co) t[2] = back == text`, "320000 true"},
	{"merged", `
local p = pipe.spawn("echo out; echo err >&2", {merge_stderr = true})
t = {p:stdout_read_all(), p:stderr_read_line()} t[4], t[5] = p:shutdown("stderr")`, "out\nerr\n nil merged to stdout nil merged to stdout"},
	{"exit codes", `
t = {pipe.spawn("exit 0"):wait()} local p = pipe.spawn("exit 3") t[4], t[5], t[6] = p:wait() t[7], t[8] = p:wait()`, "true exit 0 false exit 3 nil exited"},
	{"over once it was waited for", `
local p = pipe.spawn("echo x") p:wait() t = {p:stdout_read_line()} t[3], t[4] = p:write("x") t[5], t[6] = p:shutdown("stdin") t[7], t[8] = p:kill(9)`,
		"nil closed nil closed nil closed nil exited"},
	{"signals", `
local p = pipe.spawn({"sleep", "100"}) t = {p:pid() > 1} t[2], t[3] = p:kill(0), select(2, p:kill(999)) t[4] = p:kill(15)
t[5], t[6], t[7] = p:wait()`, "true true invalid signal true false signal 15"},
	{"timeouts", `
local p = pipe.spawn("printf part; sleep 100", {stdout_read_timeout = 100, wait_timeout = 5, write_timeout = 5})
t = {p:stdout_read_line()} t[4], t[5] = p:wait() t[6], t[7] = p:write(string.rep("x", 1e6))
p:set_timeouts(nil, 1) t[8], t[9] = p:stdout_read_any(10)`, "nil timeout part nil timeout nil timeout nil timeout"},
	{"busy", `
local p = pipe.spawn({"sleep", "100"})
ngx.thread.spawn(function() p:stdout_read_line() end) ngx.thread.spawn(function() p:wait() end)
ngx.sleep(0.5) t = {p:stdout_read_any(1)} t[3], t[4] = p:wait() p:kill(9)`, "nil pipe busy reading nil pipe busy waiting"},
	{"shut while it is read", `
local p = pipe.spawn("printf x; sleep 100") p:stdout_read_any(1)
local co = ngx.thread.spawn(function() return p:stdout_read_line() end)
ngx.sleep(0.3) t[1] = p:shutdown("stdout") t[2], t[3], t[4] = select(2, ngx.thread.wait(co)) t[5], t[6] = p:stdout_read_line()
t[7] = p:shutdown("stdout")`, "true nil aborted  nil closed true"},
	{"environment", `
local p = pipe.spawn("echo $A-$B-$HOME", {environ = {"A=1", "B="}}) t = {p:stdout_read_line()}`, "1--"},
	{"what cannot be executed", `
local p = pipe.spawn({"/no/such/program"}) t = {p:stdout_read_line()} t[4], t[5], t[6] = p:wait()`, "nil closed  false exit 1"},
	{"errors", `
local p = pipe.spawn("exit 0")
for i, f in ipairs{
  function() pipe.spawn() end, function() pipe.spawn({}) end, function() pipe.spawn("x", {buffer_size = 0}) end,
  function() pipe.spawn("x", {environ = "A=1"}) end, function() pipe.spawn("x", {environ = {"=1"}}) end,
  function() pipe.spawn("x", {wait_timeout = -1}) end, function() p:set_timeouts(-1) end, function() p.wait({}) end,
  function() p:write(true) end, function() p:shutdown("both") end, function() p:kill("x") end,
  function() p:stdout_read_bytes(-1) end, function() p:stderr_read_any(0) end} do
  t[i] = (select(2, pcall(f)):gsub("^script0:%d+: ", "")) .. ";" end`,
		"bad args arg: table expected, got nil; bad args arg: non-empty table expected; bad buffer_size option; " +
			"bad environ option: table expected, got string; bad value at index 1 of environ option: 'name=[value]' format expected, got '=1'; " +
			"bad wait_timeout option; bad write_timeout option; not a process instance; " +
			"bad data arg: string, number, or table expected, got boolean; bad shutdown arg: both; bad signal arg: number expected, got x; " +
			"bad len argument; bad max argument;"},
}

func TestPipes(t *testing.T) {
	for _, c := range pipeCases {
		t.Run(c.name, func(t *testing.T) {
			p, scripts := testPool(t, Options{}, "local t, pipe = {}, require 'ngx.pipe'\n"+c.text+"\nngx.ctx.t = t",
				`local s = {} for i = 1, table.maxn(ngx.ctx.t) do s[i] = tostring(ngx.ctx.t[i]) end error(table.concat(s, " "), 0)`)
			s := pinned(t, p)
			if out := s.drive(s.Start(scripts[0], PhaseContent, nil)); out.Kind != Done {
				t.Fatalf("%+v %v", out, out.Err)
			}
			out := s.Start(scripts[1], PhaseLog, nil)
			if out.Err == nil || out.Err.Message != c.want {
				t.Errorf("%v\nwant %q", out.Err, c.want)
			}
		})
	}
}

func isAlive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// However its script ends, a process ends with it.
func TestProcessesEndWithTheirExchange(t *testing.T) {
	for _, c := range []struct {
		name, text string
		kind       Kind
		release    bool
	}{
		{"exchange over", `spawn()`, Done, true},
		{"in a wait for it", `local p = spawn() ngx.thread.spawn(function() ngx.sleep(0.005) ngx.exit(200) end) p:stdout_read_line()`, Exit, true},
		{"error", `spawn() error("x")`, Failed, true},
		{"let go of", `spawn() collectgarbage() collectgarbage()`, Done, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, scripts := testPool(t, Options{}, `
local function spawn()
  local p = require("ngx.pipe").spawn({"sleep", "1000"}) pid = p:pid() return p
end `+c.text, `error(pid, 0)`)
			s, err := p.Pin(0)
			if err != nil {
				t.Fatal(err)
			}
			if out := s.drive(s.Start(scripts[0], PhaseContent, nil)); out.Kind != c.kind {
				t.Fatalf("%+v %v", out, out.Err)
			}
			out := s.Start(scripts[1], PhaseLog, nil)
			pid, err := strconv.Atoi(out.Err.Message)
			if err != nil || pid < 2 {
				t.Fatalf("pid %v", out.Err)
			}
			if c.release {
				s.Release()
			} else {
				defer s.Release()
			}
			until(t, "its end", func() bool { return !isAlive(pid) })
			if n := p.places[0].Load().processes.n.Load(); n != 0 {
				t.Errorf("%d processes are kept", n)
			}
		})
	}
}

// A handler that nobody drives any more leaves nothing behind.
func TestProcessOpsAreCancelled(t *testing.T) {
	for _, text := range []string{`p:stdout_read_line()`, `p:wait()`, `p:write(string.rep("x", 1e6))`} {
		p, scripts := testPool(t, Options{}, `local p = require("ngx.pipe").spawn({"sleep", "1000"}) `+text)
		s, err := p.Pin(0)
		if err != nil {
			t.Fatal(err)
		}
		out := s.Start(scripts[0], PhaseContent, nil)
		Perform(out.Op)
		if out = s.Resume(out.Op, nil); out.Kind != Wait {
			t.Fatalf("%+v %v", out, out.Err)
		}
		done := make(chan struct{})
		go func() { Perform(out.Op); close(done) }()
		time.Sleep(5 * time.Millisecond)
		s.Cancel()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			t.Fatalf("%s was not cut short", text)
		}
		s.Release()
	}
}

func TestPipeWherePhasesCannotWait(t *testing.T) {
	p, scripts := testPool(t, Options{}, `require("ngx.pipe").spawn("exit 0")`)
	s := pinned(t, p)
	out := s.Start(scripts[0], PhaseLog, nil)
	if want := "script0:1: API disabled in the context of log_by_lua*"; out.Err == nil || out.Err.Message != want {
		t.Errorf("%v, want %q", out.Err, want)
	}
}
