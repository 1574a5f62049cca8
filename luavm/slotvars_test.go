//go:build cgo && luajit

package luavm

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func requestSlot(t *testing.T) *Slot {
	t.Helper()
	pool, _ := requestScripts(t, new(strings.Builder))
	slot, err := pool.Pin(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(slot.Release)
	return slot
}

func TestSlotVariables(t *testing.T) {
	s := requestSlot(t)
	if s.Var(VarURI) != nil {
		t.Error("a fresh slot has a uri")
	}
	for _, v := range []Variable{VarArgs, VarHost} {
		if err := s.SetVar(v, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Var(VarHost); got == nil || len(got) != 0 {
		t.Errorf("empty is not unset: %v", got)
	}
	if s.Var(VarArgs) != nil {
		t.Error("a query of no bytes is there")
	}
	// growing moves what is there, empty strings too
	want := map[Variable]string{VarHost: ""}
	for round := range 12 {
		for v := VarURI; v < variableCount; v++ {
			if v == VarHost {
				continue
			}
			text := strings.Repeat(string(rune('a'+v)), 1<<round)
			want[v] = text
			if err := s.SetVarString(v, text); err != nil {
				t.Fatal(err)
			}
		}
		name := fmt.Sprint("extra", round)
		if err := s.SetExtra(name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	for v, text := range want {
		if got := string(s.Var(v)); got != text {
			t.Errorf("variable %d is %.20q, want %.20q", v, got, text)
		}
	}
	for round := range 12 {
		name := fmt.Sprint("extra", round)
		if got, ok := s.Extra(name); string(got) != name || !ok {
			t.Errorf("%s is %q, %v", name, got, ok)
		}
	}
	s.UnsetVar(VarURI)
	if s.Var(VarURI) != nil {
		t.Error("UnsetVar left it")
	}
	s.ResetVars()
	if _, ok := s.Extra("extra1"); ok || s.Var(VarRoute) != nil {
		t.Error("ResetVars left something")
	}
}

func TestSlotFull(t *testing.T) {
	s := requestSlot(t)
	if err := s.SetVar(VarURI, make([]byte, 17<<20)); !errors.Is(err, ErrSlotFull) {
		t.Errorf("17 MiB: %v", err)
	}
	if err := s.SetVarString(VarURI, "/"); err != nil {
		t.Errorf("a small one after it: %v", err)
	}
	var err error
	for i := 0; i < 10000 && err == nil; i++ {
		err = s.SetExtra(fmt.Sprint(i), []byte("x"))
	}
	if !errors.Is(err, ErrSlotFull) {
		t.Errorf("10000 extra variables: %v", err)
	}
	if got, ok := s.Extra("4000"); string(got) != "x" || !ok {
		t.Errorf("an earlier one is lost: %q %v", got, ok)
	}
}

func TestSlotFlagsAndNumbers(t *testing.T) {
	s := requestSlot(t)
	s.SetFlags(FlagTLS | FlagInternal)
	s.ClearFlags(FlagInternal)
	if s.Flags() != FlagTLS {
		t.Errorf("flags %b", s.Flags())
	}
	s.SetStatus(418)
	if s.Status() != 418 {
		t.Error(s.Status())
	}
	if s.NextEdit(&Edit{}) || len(s.Output()) != 0 {
		t.Error("a fresh slot has edits or output")
	}
}

// Phases without a request: each function says so instead of reading an idle
// slot.
func TestWithoutRequest(t *testing.T) {
	const probe = `
		local function says(f, ...)
			local ok, err = pcall(f, ...)
			assert(not ok and err:find(want, 1, true), tostring(err))
		end
		says(ngx.req.get_headers) says(ngx.req.set_header, "a", "b") says(ngx.req.get_method)
		says(ngx.req.get_uri_args) says(ngx.req.set_uri_args, "a") says(ngx.req.set_uri, "/")
		says(ngx.req.get_body_data) says(ngx.req.raw_header) says(ngx.req.http_version)
		says(ngx.resp.get_headers) says(function() return ngx.var.uri end) says(function() ngx.var.x = 1 end)
		says(function() return ngx.header.x end) says(function() ngx.header.x = 1 end)
		says(function() return ngx.status end) says(function() ngx.status = 200 end)
		says(function() return ngx.headers_sent end) says(function() return ngx.arg[1] end)
		want = other or want
		says(ngx.say, "x") says(ngx.flush) says(ngx.redirect, "/") says(ngx.req.read_body) says(ngx.send_headers)`
	pool, err := NewPool(Options{
		Init: Source{Name: "init", Chunk: "=init", Text: `want = "no request found"` + probe},
		InitWorker: Source{Name: "init_worker", Chunk: "=init_worker",
			Text: `want = "API disabled in the current context" other = "API disabled in the context of init_worker_by_lua*"` + probe},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := pool.Start(); err != nil {
		t.Fatal(err)
	}
	pool.Close()
}

func TestSetVars(t *testing.T) {
	list := func(uri, args, host string) []VarValue {
		return []VarValue{{VarURI, []byte(uri)}, {VarArgs, []byte(args)}, {VarHost, []byte(host)}}
	}
	s := requestSlot(t)
	for _, round := range []struct{ name, uri, args, host string }{
		{"first", "/a", "x=1", "h"},
		{"shorter", "/", "x", ""},
		{"no query", "/", "", "h"},
		{"longer", "/" + strings.Repeat("a", 5000), "x=1&y=2", "host.example"},
		{"short again", "/b", "y=2", "other"},
	} {
		if err := s.SetVars(list(round.uri, round.args, round.host)); err != nil {
			t.Fatal(round.name, err)
		}
		uri, args, host := string(s.Var(VarURI)), string(s.Var(VarArgs)), s.Var(VarHost)
		if uri != round.uri || args != round.args || string(host) != round.host || host == nil {
			t.Errorf("%s: %.20q, %q, %q", round.name, uri, args, host)
		}
		if (s.Var(VarArgs) == nil) != (round.args == "") {
			t.Errorf("%s: a query of no bytes is nil, any other is not", round.name)
		}
	}
	big := strings.Repeat("a", 17<<20)
	if err := s.SetVars(list(big, "z", "h")); !errors.Is(err, ErrSlotFull) {
		t.Errorf("17 MiB: %v", err)
	}
	if uri, args := string(s.Var(VarURI)), string(s.Var(VarArgs)); uri != "/b" || args != "z" {
		t.Errorf("after a refusal: %.20q, %q, want what fits to be set", uri, args)
	}
}
