//go:build cgo && luajit

package luavm

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// logged collects log lines.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) log(_ *Slot, _ int, line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(line))
}

func (l *logged) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// until waits for a condition that others bring about.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// Each script writes down in the global t, which the test reads once the
// script has set over.
var timerCases = []struct{ name, text, want string }{
	{"arguments behind premature", `
ngx.timer.at(0, function(...) t = {select("#", ...), ...} done() end, "a", nil, 3, nil)`, "5 false a nil 3"},
	{"the handler runs when its maker has gone on", `
ngx.timer.at(0, function() t[2] = "timer" done() end) t[1] = "maker"`, "maker timer"},
	{"due at the same time: in order", `
for i = 1, 5 do ngx.timer.at(0.01, function() t[i] = #t + 1 if i == 5 then done() end end) end`, "1 2 3 4 5"},
	{"earlier ones first", `
ngx.timer.at(0.03, function() t[#t + 1] = "late" done() end)
ngx.timer.at(0.001, function() t[#t + 1] = "early" end)`, "early late"},
	{"phase and ctx of its own", `
ngx.ctx.x = 1
ngx.timer.at(0, function() t = {ngx.get_phase(), ngx.ctx.x} ngx.ctx.x = 2
  ngx.timer.at(0, function() t[2] = tostring(ngx.ctx.x) done() end) end)`, "timer nil"},
	{"waits and threads inside", `
ngx.timer.at(0, function()
  local co = ngx.thread.spawn(function() ngx.sleep(0.002) return "thread" end)
  ngx.sleep(0.001) t[1] = "slept" t[2] = select(2, ngx.thread.wait(co)) done() end)`, "slept thread"},
	{"a handler that sleeps holds no other up", `
ngx.timer.at(0, function() ngx.sleep(0.05) t[2] = "slow" done() end)
ngx.timer.at(0.001, function() t[1] = "fast" end)`, "fast slow"},
	{"counts", `
ngx.timer.at(0, function() ngx.sleep(0.005) t[3], t[4] = ngx.timer.running_count(), ngx.timer.pending_count() done() end)
ngx.timer.at(100, function() end)
t[1], t[2] = ngx.timer.running_count(), ngx.timer.pending_count()`, "0 2 1 1"},
	{"every", `
local n = 0 ngx.timer.every(0.002, function(premature, v)
  n = n + 1 if n < 4 then t[n] = v end if n == 3 then t[4] = ngx.timer.pending_count() done() end end, "x")`, "x x x 1"},
	{"no request inside", `
ngx.timer.at(0, function()
  for i, f in ipairs{function() return ngx.var.uri end, function() ngx.say("x") end, ngx.req.get_headers,
    function() return ngx.header.x end, ngx.eof} do
    t[i] = (select(2, pcall(f)):gsub("^.-: ", "")) end done() end)`,
		"API disabled in the current context API disabled in the context of ngx.timer API disabled in the current context " +
			"API disabled in the current context API disabled in the current context"},
	{"exit ends it", `
ngx.timer.at(0, function() ngx.timer.at(0.005, function() t[2] = ngx.timer.running_count() done() end)
  t[1] = "a" ngx.exit(0) t[1] = "b" end)`, "a 1"},
	{"argument errors", `
for i, a in ipairs{{}, {1}, {"x", print}, {1, 2}, {1, string.find}} do
  t[i] = (select(2, pcall(function() ngx.timer.at(unpack(a)) end)):gsub("^script0:%d+: ", "") .. ";") end
t[6] = select(2, pcall(ngx.timer.every, 0.0001, function() end)) done()`,
		"expecting at least 2 arguments but got 0; expecting at least 2 arguments but got 1; " +
			"bad argument #1 to 'at' (number expected, got string); bad argument #2 to 'at' (Lua function expected); " +
			"bad argument #2 to 'at' (Lua function expected); delay cannot be zero"},
	{"too many pending", `
for i = 1, 11 do local ok, err = ngx.timer.at(100, function() end) t[1], t[2] = ok, err end
t[3] = ngx.timer.pending_count() done()`, "nil too many pending timers 10"},
	{"beyond long", `
t[1], t[2] = ngx.timer.at(1e300, function() end), ngx.timer.at(math.huge, function() end) t[3] = ngx.timer.pending_count() done()`, "1 1 2"},
}

func TestTimers(t *testing.T) {
	for _, c := range timerCases {
		t.Run(c.name, func(t *testing.T) {
			p, scripts := testPool(t, Options{PendingTimers: 10, Init: Source{Name: "init", Chunk: "=init", Text: "t, over = {}, nil function done() over = 1 end"}},
				c.text, `if over then local s = {} for i = 1, table.maxn(t) do s[i] = tostring(t[i]) end error(table.concat(s, " "), 0) end`)
			s := pinned(t, p)
			if out := s.Start(scripts[0], PhaseContent, nil); out.Kind != Done {
				t.Fatalf("%+v %v", out, out.Err)
			}
			until(t, "the timer's end", func() bool {
				out := s.Start(scripts[1], PhaseLog, nil)
				if out.Err != nil && out.Err.Message != c.want {
					t.Fatalf("%v, want %q", out.Err, c.want)
				}
				return out.Err != nil
			})
		})
	}
}

func TestTimersFrom(t *testing.T) {
	for phase := PhaseInitWorker; phase < phaseCount; phase++ {
		if phase == PhaseExitWorker {
			continue
		}
		t.Run(phase.String(), func(t *testing.T) {
			var log logged
			text := `assert(ngx.timer.at(0, function() ngx.log(ngx.ERR, "fired") end))`
			options := Options{Log: log.log}
			if phase == PhaseInitWorker {
				options.InitWorker, text = Source{Name: "w", Chunk: "=w", Text: text}, ""
			}
			p, scripts := testPool(t, options, text)
			s := pinned(t, p)
			if out := s.Start(scripts[0], phase, nil); out.Kind != Done {
				t.Fatalf("%+v %v", out, out.Err)
			}
			until(t, "fired", func() bool { return strings.Contains(log.text(), "fired") })
		})
	}
	p, err := NewPool(Options{Init: Source{Name: "init", Chunk: "=init", Text: "ngx.timer.at(0, function() end)"}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Start(); err == nil || !strings.Contains(err.Error(), "init:1: no request") {
		t.Errorf("%v", err)
	}
}

func TestTimerFailures(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"error", "ngx.timer.at(0, function()\n error('boom') end)",
			"lua entry thread aborted: runtime error: script0:2: boom\nstack traceback:\ncoroutine 0:\n\t[C]: in function 'error'\n\tscript0:2: in function <script0:1>"},
		{"after a wait", "ngx.timer.at(0, function()\n ngx.sleep(0.001) error('boom') end)", "runtime error: script0:2: boom"},
		{"budget", "ngx.timer.at(0, function() while true do end end)", "execution time limit exceeded"},
		{"too many", "for i = 1, 3 do ngx.timer.at(0, function() ngx.sleep(0.1) end) end",
			"lua failed to run timer with function defined at =script0:1: 2 lua_max_running_timers are not enough"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log logged
			failed := make(chan *ScriptError, 9)
			p, scripts := testPool(t, Options{Log: log.log, RunningTimers: 2, CPUBudget: 50 * time.Millisecond,
				Failed: func(err *ScriptError) { failed <- err }}, c.text)
			s := pinned(t, p)
			s.Start(scripts[0], PhaseContent, nil)
			until(t, c.want, func() bool { return strings.Contains(log.text(), c.want) })
			if c.name == "too many" {
				return
			}
			if err := <-failed; err.Script != "ngx.timer" {
				t.Errorf("%+v", err)
			}
		})
	}
}

// Sockets of a timer, and of those that it makes, behave as its maker's.
func TestTimersHaveTheirMakersSockets(t *testing.T) {
	var log logged
	connect := `local s = ngx.socket.tcp() ngx.log(ngx.ERR, name, ": ", select(2, s:connect("no.example", 1)))`
	p, scripts := testPool(t, Options{Log: log.log, Sockets: NewSocketSettings(SocketOptions{ResolveTimeout: time.Second, Resolve: func(context.Context, string) ([]netip.Addr, error) {
		return nil, &net.DNSError{IsNotFound: true}
	}})}, `
ngx.timer.at(0, function()
  local name = "timer" `+connect+`
  ngx.timer.at(0.001, function() local name = "its timer" `+connect+` end)
end)
local n = 0
ngx.timer.every(0.001, function() n = n + 1 if n == 2 then local name = "every" `+connect+` end end)`,
		`ngx.timer.at(0, function() local name = "another's" `+connect+` end)`)
	s := pinned(t, p)
	s.UseSockets(NewSocketSettings(SocketOptions{Resolve: NoResolver}))
	s.Start(scripts[0], PhaseContent, nil)
	pinned(t, p).Start(scripts[1], PhaseContent, nil)
	for _, want := range []string{
		`timer: no resolver defined to resolve "no.example"`, `its timer: no resolver defined to resolve "no.example"`,
		`every: no resolver defined to resolve "no.example"`, "another's: no.example could not be resolved (3: Host not found)",
	} {
		until(t, want, func() bool { return strings.Contains(log.text(), want) })
	}
}

// A generation that ends fires what is pending, at once and once.
func TestTimersOfAnEnd(t *testing.T) {
	var log logged
	p, scripts := testPool(t, Options{Log: log.log}, `
local function f(premature, name)
  ngx.log(ngx.ERR, name, " premature=", premature, " exiting=", ngx.worker.exiting())
  local ok, err = ngx.timer.at(10, f)
  ngx.log(ngx.ERR, "again: ", ok, " ", err)
  ngx.timer.at(0, function(premature) ngx.log(ngx.ERR, "zero premature=", premature) end)
end
ngx.timer.at(100, f, "at")
ngx.timer.every(200, f, "every")`)
	s, err := p.Pin(0)
	if err != nil {
		t.Fatal(err)
	}
	s.Start(scripts[0], PhaseContent, nil)
	s.Release()
	p.SetExiting()
	p.Close()
	<-p.Done()
	text := log.text()
	for _, want := range []string{"at premature=true exiting=true", "every premature=true exiting=true", "again: nil process exiting", "zero premature=false"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "every premature"); n != 1 {
		t.Errorf("every fired %d times", n)
	}
}

// What still runs when the drain is over does not keep its VM.
func TestTimersDoNotOutliveTheDrain(t *testing.T) {
	const endless = `ngx.timer.at(0, function() ngx.thread.spawn(ngx.sleep, 100) while true do ngx.sleep(100) end end)`
	for _, c := range []struct {
		name  string
		drain time.Duration
		end   func(p *Pool)
	}{
		{"drain", 20 * time.Millisecond, func(*Pool) {}},
		{"process ends", time.Hour, (*Pool).EndTimers},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, scripts := testPool(t, Options{Drain: c.drain}, endless)
			s := pinned0(t, p, 0)
			s.Start(scripts[0], PhaseContent, nil)
			until(t, "running", func() bool { return p.Stats().VMs[0].Suspended == 2 })
			if n := p.Timers(); n != 1 {
				t.Errorf("%d timers", n)
			}
			s.Release()
			p.Close()
			c.end(p)
			select {
			case <-p.Done():
			case <-time.After(5 * time.Second):
				t.Fatal("the pool did not end")
			}
		})
	}
}

// A VM that is replaced takes its timers along; the next one's init_worker
// makes its own.
func TestTimersOfALostVM(t *testing.T) {
	var log logged
	p, scripts := testPool(t, Options{Log: log.log, CPUBudget: 20 * time.Millisecond,
		InitWorker: Source{Name: "w", Chunk: "=w", Text: `ngx.timer.every(0.005, function() ngx.log(ngx.ERR, "tick") end)`}},
		`local ffi = require "ffi" ffi.gc(ffi.new("int[1]"), function() while true do end end) collectgarbage()`)
	s, err := p.Pin(0)
	if err != nil {
		t.Fatal(err)
	}
	out := s.Start(scripts[0], PhaseContent, nil)
	s.Release()
	if out.Err == nil || out.Err.Kind != ErrLost {
		t.Skipf("not abandoned here: %+v", out)
	}
	n := strings.Count(log.text(), "tick")
	until(t, "ticks of the next VM", func() bool { return strings.Count(log.text(), "tick") > n+3 })
}
