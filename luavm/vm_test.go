//go:build cgo && luajit

package luavm

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// testPool is a started pool of one VM with scripts compiled from texts.
func testPool(t testing.TB, options Options, texts ...string) (*Pool, []*Script) {
	t.Helper()
	if options.Log == nil {
		options.LogLevel = LevelDebug
		options.Log = func(_ *Slot, level int, line []byte) { t.Logf("[%d] %s", level, line) }
	}
	if options.CPUBudget == 0 {
		options.CPUBudget = 10 * time.Second
	}
	p, err := NewPool(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		select {
		case <-p.Done():
		case <-time.After(10 * time.Second):
			t.Error("the pool did not end")
		}
	})
	scripts := make([]*Script, len(texts))
	for i, text := range texts {
		name := fmt.Sprintf("script%d", i)
		if scripts[i], err = p.Add(Source{Name: name, Chunk: "=" + name, Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	return p, scripts
}

// pinned is a slot of p that is released at the end of the test.
func pinned(t testing.TB, p *Pool) *Slot {
	t.Helper()
	s, err := p.Pin(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Release)
	return s
}

// finish performs ops at once until the handler ends.
func finish(s *Slot, out Outcome) Outcome {
	for out.Kind == Wait {
		out = s.Resume(out.Op, nil)
	}
	return out
}

func TestHandlerEnds(t *testing.T) {
	for _, c := range []struct {
		name, text string
		phase      Phase
		want       Kind
		status     int32
		message    string
	}{
		{"returns", `return 1`, PhaseAccess, Done, 0, ""},
		{"waits and returns", `ngx.sleep(0.001) return 1`, PhaseAccess, Done, 0, ""},
		{"exits", `ngx.exit(403) error("not reached")`, PhaseAccess, Exit, 403, ""},
		{"exits through pcall", `pcall(ngx.exit, 404) error("not reached")`, PhaseContent, Exit, 404, ""},
		{"exits in a coroutine", `coroutine.wrap(function() ngx.exit(ngx.HTTP_GONE) end)() error("not reached")`, PhaseContent, Exit, 410, ""},
		{"exit in header_filter returns", `ngx.exit(ngx.ERROR) reached = true`, PhaseHeaderFilter, Exit, -1, ""},
		{"fails", "\nerror('boom')", PhaseAccess, Failed, 0, "script0:2: boom"},
		{"fails with a table", `error({})`, PhaseAccess, Failed, 0, "(error object is a table value)"},
		{"fails after a wait", `ngx.sleep(0) local x = nil; return x.y`, PhaseAccess, Failed, 0,
			"script0:1: attempt to index local 'x' (a nil value)"},
		{"sleeps where it must not", `ngx.sleep(0)`, PhaseLog, Failed, 0,
			"script0:1: API disabled in the context of log_by_lua*"},
		{"yields at top level", `coroutine.yield(1) coroutine.yield()`, PhaseContent, Done, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, scripts := testPool(t, Options{}, c.text)
			s := pinned(t, p)
			for round := range 3 {
				out := finish(s, s.Start(scripts[0], c.phase, nil))
				if out.Kind != c.want || out.Status != c.status {
					t.Fatalf("round %d: got %+v, error %v", round, out, out.Err)
				}
				if out.Err != nil && out.Err.Message != c.message {
					t.Fatalf("round %d: message %q, want %q", round, out.Err.Message, c.message)
				}
			}
		})
	}
}

func TestTraceback(t *testing.T) {
	p, scripts := testPool(t, Options{}, `
local function inner()
  ngx.sleep(0.001)
  error("deep")
end
local f = coroutine.wrap(function() inner() end)
f()`)
	s := pinned(t, p)
	out := finish(s, s.Start(scripts[0], PhaseAccess, nil))
	if out.Kind != Failed {
		t.Fatalf("got %+v", out)
	}
	want := `stack traceback:
coroutine 0:
	[C]: in function 'error'
	script0:4: in function 'inner'
	script0:6: in function <script0:6>
coroutine 1:
	[C]: in function 'error'`
	if !strings.HasPrefix(out.Err.Traceback, want) {
		t.Fatalf("traceback:\n%s\nwant:\n%s", out.Err.Traceback, want)
	}
	if !strings.HasSuffix(out.Err.Traceback, "\tscript0:7: in function <script0:1>") {
		t.Fatalf("traceback:\n%s", out.Err.Traceback)
	}
}
