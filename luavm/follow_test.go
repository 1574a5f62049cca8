//go:build cgo && luajit

package luavm

import (
	"testing"
	"time"
)

// TestFollowing: what a first handler may do for the second to run in the same
// entry, and that the host sees of both what it would of two entries.
func TestFollowing(t *testing.T) {
	for _, c := range []struct {
		name, first, second string
		follows             bool
		kind                Kind // of the second, or of the first where none follows
	}{
		{"it returns", "return", "return", true, Done},
		{"it edits the request", `ngx.req.set_header("A", "1")`, `assert(ngx.req.get_headers().a == "1")`, true, Done},
		{"it edits the answer", `ngx.header.A = "1"`, `assert(ngx.header.A == "1")`, true, Done},
		{"they share ngx.ctx", "ngx.ctx.a = 1", "assert(ngx.ctx.a == 1)", true, Done},
		{"each has its phase", `assert(ngx.get_phase() == "rewrite")`, `assert(ngx.get_phase() == "access")`, true, Done},
		{"the second ends the request", "", "ngx.exit(403)", true, Exit},
		{"the second waits", "", "ngx.sleep(0.001)", true, Wait},
		{"the second fails", "", `error("oops")`, true, Failed},
		{"the second uses up its budget", "", "while true do end", true, Failed},
		{"it ends the request", "ngx.exit(403)", "return", false, Exit},
		{"it ends its phase", "ngx.exit(0)", "return", false, Exit},
		{"it waits", "ngx.sleep(0.001)", "return", false, Wait},
		{"it fails", `error("oops")`, "return", false, Failed},
		{"it sets the path", `ngx.req.set_uri("/b")`, "return", false, Done},
		{"it sets the query", `ngx.req.set_uri_args("b=1")`, "return", false, Done},
		{"it sets the status", "ngx.status = 403", "return", false, Done},
		{"it logs", `ngx.log(ngx.ERR, "oops")`, "return", false, Done},
		{"it starts a timer", "ngx.timer.at(60, function() end)", "return", false, Done},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, scripts := dataPool(t, Options{Workers: 1, CPUBudget: 50 * time.Millisecond, Log: func(*Slot, int, []byte) {}}, c.first, c.second, "return")
			s := pinned0(t, p, 0)
			defer s.Release()
			s.Start(scripts[2], PhaseRewrite, nil) // makes the coroutine
			before := s.vm.state.Figures().Crossings
			in := &Input{Head: []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")}
			out := s.StartWith(scripts[0], PhaseRewrite, scripts[1], PhaseAccess, in)
			if n := s.vm.state.Figures().Crossings - before; n != 1 && (n != 2 || c.kind != Failed) { // the error is explained by another
				t.Errorf("%d entries into C", n)
			}
			next, follows := s.Followed()
			if follows != c.follows {
				t.Fatalf("the second has run: %v, want %v", follows, c.follows)
			}
			if follows {
				if out.Kind != Done {
					t.Errorf("the first ended as %v, want %v", out.Kind, Done)
				}
				out = next
			}
			if out.Kind != c.kind {
				t.Errorf("ended as %v (%v), want %v", out.Kind, out.Err, c.kind)
			}
			runs := p.Stats().Scripts
			if runs[0].Runs != 1 || (runs[1].Runs == 1) != follows {
				t.Errorf("runs: %d and %d", runs[0].Runs, runs[1].Runs)
			}
			if out.Err != nil && follows && out.Err.Script != scripts[1].Name() {
				t.Errorf("%s is said to have failed", out.Err.Script)
			}
		})
	}
}

// TestFollowingEdits: the host takes over the edits of each handler with its
// outcome.
func TestFollowingEdits(t *testing.T) {
	p, scripts := dataPool(t, Options{Workers: 1}, `ngx.req.set_header("A", "1")`, `ngx.req.set_header("B", "2")`)
	s := pinned0(t, p, 0)
	defer s.Release()
	in := &Input{Head: []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")}
	names := func() (all string) {
		for e := (Edit{}); s.NextEdit(&e); {
			all += string(e.Name)
		}
		return all
	}
	for range 2 { // the second time with what the first has left
		s.StartWith(scripts[0], PhaseRewrite, scripts[1], PhaseAccess, in)
		if !s.Follows() {
			t.Fatal("the second has not run")
		}
		if got := names(); got != "A" {
			t.Errorf("edits of the first: %q", got)
		}
		s.Followed()
		if got := names(); got != "B" {
			t.Errorf("edits of the second: %q", got)
		}
	}
	if out := s.Start(scripts[0], PhaseRewrite, in); out.Kind != Done || s.Follows() {
		t.Errorf("alone: %v, another followed: %v", out.Kind, s.Follows())
	}
}

// BenchmarkTwoPhases compares two entries into C with one for two handlers.
func BenchmarkTwoPhases(b *testing.B) {
	p, scripts := testPool(b, Options{CPUBudget: 100 * time.Millisecond, MemoryLimit: 64 << 20},
		`ngx.req.set_header("X-Visit", ngx.var.request_id)`, "if ngx.var.arg_no then return ngx.exit(403) end")
	in := &Input{Head: []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")}
	for name, both := range map[string]func(s *Slot){
		"apart": func(s *Slot) {
			s.Start(scripts[0], PhaseRewrite, in)
			s.Start(scripts[1], PhaseAccess, in)
		},
		"beside": func(s *Slot) {
			s.StartWith(scripts[0], PhaseRewrite, scripts[1], PhaseAccess, in)
			if out, ok := s.Followed(); !ok || out.Kind != Done {
				b.Fatalf("%v: %+v", ok, out)
			}
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s, _ := p.Pin(0)
				both(s)
				s.Release()
			}
		})
	}
}
