//go:build cgo && luajit

package luavm

import (
	"testing"
	"time"
)

// What is hot ends up compiled. A function that holds a loop stays interpreted
// around it, so calls with one are tried again a few times.
func TestRegexCompiles(t *testing.T) {
	for _, c := range []struct {
		name, text string
		aborts     int // tolerated after the warm-up
	}{
		{"match", `local m = ngx.re.match("/orders/1234/items", [[^/(\w+)/(\d+)]], "jo") if m[2] ~= "1234" then error("x") end`, 0},
		{"match, names", `local m = ngx.re.match("/orders/1234", [[^/(?<name>\w+)/(?<id>\d+)]], "jo") if m.id ~= "1234" then error("x") end`, 0},
		{"match, not kept", `local m = ngx.re.match("/orders/1234/items", [[^/(\w+)/(\d+)]]) if m[2] ~= "1234" then error("x") end`, 0},
		{"match, none", `if ngx.re.match("/orders/1234/items", "^/users/", "jo") then error("x") end`, 0},
		{"match, context", `local c = {pos = 1} ngx.re.match("/orders/1234/items", [[\d+]], "jo", c) if c.pos ~= 13 then error("x") end`, 0},
		{"find", `local from, to = ngx.re.find("/orders/1234/items", [[\d+]], "jo") if to - from ~= 3 then error("x") end`, 0},
		{"find, not kept", `local from, to = ngx.re.find("/orders/1234/items", [[\d+]]) if to - from ~= 3 then error("x") end`, 0},
		{"gmatch", `local n = 0 for m in ngx.re.gmatch("a1 b2 c3", [[\w(\d)]], "jo") do n = n + m[1] end if n ~= 6 then error("x") end`, 5},
		{"sub", `local s = ngx.re.sub("/orders/1234/items", [[/(\d+)]], "/<$1>", "jo") if s ~= "/orders/<1234>/items" then error("x") end`, 0},
		{"gsub", `local s, n = ngx.re.gsub("a-b-c-d", "-", "_", "jo") if n ~= 3 then error(s) end`, 0},
		{"gsub in a loop", `for i = 1, 20 do local s, n = ngx.re.gsub("a-b-c-d", "-", "_", "jo") if n ~= 3 then error(s) end end`, 0},
		{"gsub, function", `local s, n = ngx.re.gsub("a-b-c-d", "-", tostring, "jo") if n ~= 3 then error(s) end`, 5},
		{"split", `local t = require "ngx.re".split("a,b,c", ",", "jo") if #t ~= 3 then error("x") end`, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, scripts := testPool(t, Options{}, c.text)
			watchTraces(t, p)
			for range 20000 {
				access(t, p, scripts[0], nil)
			}
			compiled, _ := traces(t, p)
			if compiled[:1] == "0" {
				t.Error("nothing was compiled")
			}
			for range 3000 {
				access(t, p, scripts[0], nil)
			}
			if _, aborts := traces(t, p); len(aborts) > c.aborts {
				t.Errorf("aborts %q", aborts)
			}
		})
	}
}

// Everything that patterns and matches allocate is counted, and comes back.
func TestRegexMemory(t *testing.T) {
	p, scripts := testPool(t, Options{MemoryLimit: 64 << 20, CPUBudget: 100 * time.Millisecond, RegexLimit: 1 << 31, RegexCache: 4}, `
		for i = 1, 10 do
		  for _, opts in ipairs{"", "j", "jo", "o", "d", "u"} do
		    local regex = "(a)(b)?|c" .. i
		    ngx.re.match("xxab", regex, opts)
		    ngx.re.gsub(("ab"):rep(100), regex, "$1$2$$", opts)
		    ngx.re.gsub("ab", regex, function() return "x" end, opts)
		    pcall(ngx.re.gsub, "ab", regex, error, opts)
		    for m in ngx.re.gmatch("abab", regex, opts) do break end
		    ngx.re.match("a", "(" .. i, opts)
		  end
		end
		ngx.re.match(("a"):rep(1e4), "^(?:(a)|b)*c|d")
		ngx.re.gsub(("ab"):rep(1e4), "b", "long text")`,
		`ngx.re.match(("a"):rep(60) .. "!", "^(a+)+$", opts)`,
		`require "ngx.re".opt("jit_stack_size", 262144)`,
		`ngx.re.match(("a"):rep(60) .. "!", "^(a+)+$", "j")`)
	vm := p.places[0].Load()
	run := func(i int) Outcome {
		s, err := p.Pin(0)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Release()
		return s.Start(scripts[i], PhaseContent, nil)
	}
	used := func() uint64 {
		eval(t, p, "collectgarbage() collectgarbage()")
		n := vm.state.Figures().Memory
		return n
	}
	if out := run(2); out.Kind != Done {
		t.Fatal(out.Err)
	}
	round := func() uint64 {
		if out := run(0); out.Kind != Done {
			t.Fatal(out.Err)
		}
		for _, i := range []int{1, 3} {
			if out := run(i); out.Kind != Failed || out.Err.Kind != ErrBudget {
				t.Fatalf("%+v %v", out, out.Err)
			}
		}
		return used()
	}
	eval(t, p, "jit.off()") // traces are on the heap too
	round()
	before := round()
	for range 5 {
		round()
	}
	if after := used(); after > before+64<<10 {
		t.Errorf("%d bytes used, then %d", before, after)
	}
	if st := p.Stats(); st.Lost+st.Retired > 0 {
		t.Errorf("VMs lost %d, retired %d", st.Lost, st.Retired)
	}
}

// The cache is bounded, and what is in use stays in it.
func TestRegexCache(t *testing.T) {
	for name, c := range map[string]struct {
		entries int
		again   bool // the pattern in use is the same object after 100 others
	}{
		"default": {0, true}, "small": {8, true}, "one": {1, true}, "none": {-1, false},
	} {
		t.Run(name, func(t *testing.T) {
			p, scripts := dataPool(t, Options{RegexCache: c.entries}, `
				local compile = require "resty.core.regex".re_match_compile
				local first = compile("a", "o")
				local same = true
				for i = 1, 100 do
				  compile("a" .. i, "o")
				  same = same and compile("a", "o") == first
				end
				ngx.print(same)`)
			want := "false"
			if c.again {
				want = "true"
			}
			if got := dataRun(t, p, scripts[0]); got != want {
				t.Errorf("kept: %s, want %s", got, want)
			}
		})
	}
}

func TestRegexLimit(t *testing.T) {
	say := func(limit uint32) string {
		p, scripts := dataPool(t, Options{RegexLimit: limit, CPUBudget: 10 * time.Second}, `
			for _, opts in ipairs{"", "jo", "d"} do
			  local m, err = ngx.re.match(("a"):rep(16) .. "!", "^(a+)+$", opts)
			  ngx.print(err or "none", "; ")
			end`)
		return dataRun(t, p, scripts[0])
	}
	for limit, want := range map[uint32]string{
		0:      "none; none; none; ",
		1:      "pcre_exec() failed: -8; pcre_exec() failed: -8; none; ",
		140000: "pcre_exec() failed: -8; none; none; ",
		200000: "none; none; none; ",
	} {
		if got := say(limit); got != want {
			t.Errorf("limit %d: %s, want %s", limit, got, want)
		}
	}
}

func TestRegexInEveryPhase(t *testing.T) {
	const text = `assert(ngx.re.match("ab", "(b)", "jo")[1] == "b")`
	p, scripts := dataPool(t, Options{
		Init:       Source{Name: "init", Chunk: "=init", Text: text},
		InitWorker: Source{Name: "init_worker", Chunk: "=init_worker", Text: text},
	}, text)
	for _, phase := range []Phase{PhaseRewrite, PhaseAccess, PhaseContent, PhaseHeaderFilter, PhaseBodyFilter, PhaseLog} {
		if out := pinned(t, p).Start(scripts[0], phase, nil); out.Kind != Done {
			t.Errorf("%v: %v", phase, out.Err)
		}
	}
}
