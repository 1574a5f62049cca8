//go:build cgo && luajit

package luavm

import (
	"testing"
	"time"
)

func TestMemoryLimit(t *testing.T) {
	const limit = 32 << 20
	for _, c := range []struct {
		name, text string
		retired    bool // the VM keeps too much to go on
	}{
		{"string.rep", `string.rep("x", 1e9)`, false},
		{"tables", `local t = {} for i = 1, 1e9 do t[i] = {i} end`, false},
		{"concatenation", `local s = "x" while true do s = s .. s end`, false},
		{"ffi", `local ffi = require "ffi" local t = {} for i = 1, 1e9 do t[i] = ffi.new("char[?]", 1e6) end`, false},
		{"string.buffer", `local b = require "string.buffer".new() while true do b:put(string.rep("x", 1e6)) end`, false},
		{"patterns", `local t = {} for i = 1, 1e9 do t[i] = ngx.re.gmatch("", "(a){1000}" .. i) end`, false},
		{"compiled patterns", `local t = {} for i = 1, 1e9 do t[i] = ngx.re.gmatch("", "(a){1000}" .. i, "j") end`, false},
		{"substitution", `local s = string.rep("a", 1e6) while true do ngx.re.gsub(s, "a", string.rep("b", 1e3), "jo") end`, false},
		{"coroutines", `local t = {} for i = 1, 1e9 do t[i] = coroutine.create(function() end) end`, false},
		{"in a coroutine", `coroutine.wrap(function() local t = {} for i = 1, 1e9 do t[i] = {i} end end)()`, false},
		{"after a wait", `ngx.sleep(0) local t = {} for i = 1, 1e9 do t[i] = {i} end`, false},
		{"in a coroutine of its own", `local co = coroutine.create(function() local t = {} for i = 1, 1e9 do t[i] = {i} end end)
			local _, err = coroutine.resume(co) error(err, 0)`, false},
		{"kept by a global", `kept = {} for i = 1, 1e9 do kept[i] = {i} end`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, scripts := testPool(t, Options{MemoryLimit: limit, Log: func(*Slot, int, []byte) {}},
				c.text, `return 1`)
			for round := range 3 {
				waitForSpare(t, p)
				s, err := p.Pin(0)
				if err != nil {
					t.Fatal(err)
				}
				other, err := s.Beside() // shares the VM and must not suffer
				if err != nil {
					t.Fatal(err)
				}
				out := finish(s, s.Start(scripts[0], PhaseContent, nil))
				if out.Kind != Failed || out.Err.Kind != ErrMemory {
					t.Fatalf("round %d: %+v %v", round, out, out.Err)
				}
				s.Release()
				if out := other.Start(scripts[1], PhaseContent, nil); out.Kind != Done {
					t.Fatalf("round %d: the other exchange: %v", round, out.Err)
				}
				other.Release()
			}
			st := p.Stats()
			if (st.Retired > 0) != c.retired {
				t.Errorf("%d VMs were retired", st.Retired)
			}
			if st.Lost > 0 {
				t.Errorf("%d VMs were lost", st.Lost)
			}
			if n := st.Scripts[0].Errors[3]; n != 3 {
				t.Errorf("%d memory errors counted, want 3", n)
			}
		})
	}
}

// waitForSpare waits until the keeper has built a spare VM.
func waitForSpare(t testing.TB, p *Pool) {
	t.Helper()
	for range 1000 {
		p.mu.Lock()
		ready := p.spare != nil
		p.mu.Unlock()
		if ready {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("no spare VM was built")
}

// What a script that used up its time leaves behind is not collected at the cost
// of others' time.
func TestStoppedScriptLeavesNothing(t *testing.T) {
	p, scripts := testPool(t, Options{CPUBudget: 100 * time.Millisecond, MemoryLimit: 1 << 30, Log: func(*Slot, int, []byte) {}},
		`local t = {} for i = 1, 1e9 do t[i] = {i} end`)
	s, err := p.Pin(0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	before := s.VM().state.Figures().Memory
	if out := s.Start(scripts[0], PhaseContent, nil); out.Kind != Failed || out.Err.Kind != ErrBudget {
		t.Fatalf("%+v %v", out, out.Err)
	}
	if left := int64(s.VM().state.Figures().Memory - before); left > 9<<20 {
		t.Errorf("%d MiB are left", left>>20)
	}
}
