//go:build cgo && luajit

package luavm

import (
	"errors"
	"strings"
	"testing"
)

// variablesOf is a Filler that counts what it was asked for.
type variablesOf struct {
	asked []Parts
	err   error
	panic string
}

func (f *variablesOf) Fill(s *Slot, p Parts) error {
	f.asked = append(f.asked, p)
	if f.panic != "" {
		panic(f.panic)
	}
	if f.err != nil {
		return f.err
	}
	list := map[Variable]string{}
	if p&PartRequest != 0 {
		list = map[Variable]string{
			VarURI: "/a", VarArgs: "x=1&y=2", VarMethod: "HEAD", VarHost: "h.test", VarRemoteAddr: "127.0.0.1",
			VarDefaultType: "text/plain", VarDocumentRoot: "/srv",
		}
	}
	if p&PartTries != 0 {
		list[VarUpstreamAddr], list[VarUpstreamStatus] = "10.0.0.1:80", "200"
	}
	for v, text := range list {
		if err := s.SetVarString(v, text); err != nil {
			return err
		}
	}
	return nil
}

// TestDeferred: a part is filled in when a script first reads or writes it,
// wherever in the script that is, and the script is known by that.
func TestDeferred(t *testing.T) {
	const both = PartRequest | PartTries
	for _, c := range []struct {
		name, script string
		reads        Parts
	}{
		{"nothing", "return", 0},
		{"fields", `assert(ngx.var.http_a == "1" and ngx.req.get_headers().a == "1")`, 0},
		{"numbers and flags", `assert(ngx.var.bytes_sent == "0" and ngx.var.https == "" and ngx.var.status == "000")`, 0},
		{"what is set otherwise", `assert(ngx.var.tenant == "t1") ngx.var.tenant = "t2" assert(ngx.var.tenant == "t2")`, 0},
		{"the answer's fields", `ngx.header.A = "1" assert(ngx.header.A == "1" and ngx.header["Content-Type"] == nil)`, 0},
		{"a variable", `assert(ngx.var.uri == "/a") assert(ngx.var.host == "h.test")`, PartRequest},
		{"an attempt", `assert(ngx.var.upstream_addr == "10.0.0.1:80" and ngx.var.upstream_status == "200")`, PartTries},
		{"both", `assert(ngx.var.upstream_addr == "10.0.0.1:80" and ngx.var.document_uri == "/a")`, both},
		{"an argument", `assert(ngx.var.arg_y == "2" and ngx.var.arg_z == nil)`, PartRequest},
		{"all arguments", `assert(ngx.req.get_uri_args().y == "2")`, PartRequest},
		{"whether there are arguments", `assert(ngx.var.is_args == "?")`, PartRequest},
		{"the method", `assert(ngx.req.get_method() == "HEAD")`, PartRequest},
		{"the address in bytes", `assert(ngx.var.binary_remote_addr == "\127\0\0\1")`, PartRequest},
		{"the file", `assert(ngx.var.request_filename == "/srv/a")`, PartRequest},
		{"in a callback of C", `local t = {2, 1} table.sort(t, function(a, b) return ngx.var.uri == "/a" and a < b end) assert(t[1] == 1)`, PartRequest},
		{"in a pattern's callback", `assert((string.gsub("x", "x", function() return ngx.var.uri end)) == "/a")`, PartRequest},
		{"in a coroutine", `assert(coroutine.wrap(function() return ngx.var.uri end)() == "/a")`, PartRequest},
		{"in a light thread", `local ok, v = ngx.thread.wait(ngx.thread.spawn(function() return ngx.var.uri end)) assert(v == "/a")`, PartRequest},
		{"in a module", `package.preload.m = function() return {ngx.var.uri} end assert(require("m")[1] == "/a") package.loaded.m = nil`, PartRequest},
		{"behind pcall", `assert(select(2, pcall(function() return ngx.var.uri end)) == "/a")`, PartRequest},
		{"its own path", `ngx.req.set_uri("/b") assert(ngx.var.uri == "/b" and ngx.var.host == "h.test")`, PartRequest},
		{"its own query", `ngx.req.set_uri_args("q=1") assert(ngx.var.args == "q=1" and ngx.var.arg_x == nil)`, PartRequest},
		{"its own method", `ngx.req.set_method(ngx.HTTP_POST) assert(ngx.var.request_method == "POST")`, PartRequest},
		{"its own host", `ngx.req.set_header("Host", "Other:80") assert(ngx.var.host == "other" and ngx.var.uri == "/a")`, PartRequest},
		{"by ngx.var", `ngx.var.args = "z=3" assert(ngx.var.arg_z == "3")`, PartRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, scripts := dataPool(t, Options{Workers: 1}, c.script, "return")
			f := &variablesOf{}
			for round := range 100 { // enough for the compiler
				s := pinned0(t, p, 0)
				f.asked = nil
				if err := s.SetExtra("tenant", []byte("t1")); err != nil {
					t.Fatal(err)
				}
				s.Defer(both, f)
				if out := s.Start(scripts[0], PhaseAccess, &Input{Head: []byte("GET / HTTP/1.1\r\nA: 1\r\n\r\n")}); out.Kind != Done {
					t.Fatalf("round %d: %v (%v)", round, out.Kind, out.Err)
				}
				var asked Parts
				for _, one := range f.asked {
					if asked&one != 0 {
						t.Errorf("asked twice: %v", f.asked)
					}
					asked |= one
				}
				if asked != c.reads || s.Deferred() != both&^c.reads {
					t.Fatalf("round %d: asked for %v, left %b, want %b", round, f.asked, s.Deferred(), c.reads)
				}
				s.Release()
			}
			if scripts[0].Reads() != c.reads || scripts[1].Reads() != 0 {
				t.Errorf("known to read %b, the other %b", scripts[0].Reads(), scripts[1].Reads())
			}
		})
	}
}

// A seat that is taken again has nothing to be filled in.
func TestDeferredEndsWithTheStay(t *testing.T) {
	p, scripts := dataPool(t, Options{Workers: 1}, "return", "assert(ngx.var.uri == nil)")
	f := &variablesOf{}
	s := pinned0(t, p, 0)
	s.Defer(PartRequest, f)
	s.Start(scripts[0], PhaseAccess, nil)
	s.Release()
	s = pinned0(t, p, 0)
	defer s.Release()
	if out := s.Start(scripts[1], PhaseAccess, nil); out.Kind != Done || f.asked != nil {
		t.Errorf("%v (%v), asked for %v", out.Kind, out.Err, f.asked)
	}
}

// Of two handlers in one entry the one that reads is known for it.
func TestDeferredFollowing(t *testing.T) {
	p, scripts := dataPool(t, Options{Workers: 1}, "return", `assert(ngx.var.uri == "/a")`)
	s := pinned0(t, p, 0)
	defer s.Release()
	s.Defer(PartRequest, &variablesOf{})
	s.StartWith(scripts[0], PhaseRewrite, scripts[1], PhaseAccess, nil)
	if out, ok := s.Followed(); !ok || out.Kind != Done {
		t.Fatalf("%v, %v (%v)", ok, out.Kind, out.Err)
	}
	if scripts[0].Reads() != 0 || scripts[1].Reads() != PartRequest {
		t.Errorf("the first reads %b, the second %b", scripts[0].Reads(), scripts[1].Reads())
	}
}

// A Filler that fails is the script's error; one that panics is its host's, and
// the VM serves on.
func TestDeferredFails(t *testing.T) {
	p, scripts := dataPool(t, Options{Workers: 1}, "return ngx.var.uri", "return ngx.req.get_method()", `assert(ngx.var.uri == "/a")`)
	for _, sc := range scripts[:2] {
		s := pinned0(t, p, 0)
		s.Defer(PartRequest, &variablesOf{err: errors.New("full")})
		if out := s.Start(sc, PhaseAccess, nil); out.Kind != Failed || !strings.Contains(out.Err.Message, "no memory") {
			t.Errorf("%v: %v", out.Kind, out.Err)
		}
		s.Release()
	}
	s := pinned0(t, p, 0)
	s.Defer(PartRequest, &variablesOf{panic: "on purpose"})
	func() {
		defer func() {
			if why := recover(); why != "on purpose" {
				t.Errorf("the host sees %v", why)
			}
		}()
		s.Start(scripts[0], PhaseAccess, nil)
	}()
	s.Release()
	s = pinned0(t, p, 0)
	defer s.Release()
	s.Defer(PartRequest, &variablesOf{})
	if out := s.Start(scripts[2], PhaseAccess, nil); out.Kind != Done {
		t.Errorf("%v (%v)", out.Kind, out.Err)
	}
}
