//go:build cgo && luajit

package luavm

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestDictMemory(t *testing.T) {
	for _, c := range []struct {
		name string
		size int64
		lua  string
		want string
	}{
		{"the least recently used goes first", 16 << 10, `
			local last
			for i = 1, 1000 do
			  local _, _, forcible = d:set("k" .. i, i)
			  d:get("k1")
			  if forcible then last = i break end
			end
			ngx.say(d:get("k1"), " ", d:get("k2"), " ", d:get("k3"), " ", d:get("k" .. last) == last)`,
			"1 nil 3 true\n"},
		{"expired ones go before valid ones", 16 << 10, `
			d:set("valid", 1)
			d:set("dead", 1, 0.001)
			ngx.sleep(0.003)
			local n = 0
			for i = 1, 1000 do
			  local _, _, forcible = d:set("k" .. i, i)
			  if forcible then break end
			  n = n + 1
			end
			ngx.say(n, " ", d:get_stale("dead"), " ", d:get("valid"))`,
			"63 nil nil\n"},
		{"safe_set and safe_add take nothing from others", 16 << 10, `
			local n = 0
			while d:safe_set("k" .. n, n) do n = n + 1 end
			ngx.say(n, " ", d:safe_add("more", 1))
			ngx.say(d:get("k0"), " ", #d:get_keys(0))`,
			"64 falseno memoryfalse\n0 64\n"},
		{"another size finds room where all slots have one", 64 << 10, `
			for i = 1, 2000 do d:set("small" .. i, i) end
			for i = 1, 2000 do d:get("small" .. (i * 7919 % 2000 + 1)) end
			ngx.say(d:set("large", ("x"):rep(1000)))
			ngx.say(#d:get("large"))`,
			"trueniltrue\n1000\n"},
		{"a list loses all or nothing", 16 << 10, `
			for i = 1, 3 do d:rpush("list", i) end
			for i = 1, 200 do d:set("k" .. i, ("x"):rep(100)) end
			ngx.say(d:llen("list"), " ", d:get("k200") == ("x"):rep(100))`,
			"0 true\n"},
		{"pages come back and merge", 64 << 10, `
			local free = d:free_space()
			for i = 1, 300 do d:set("k" .. i, ("x"):rep(i)) end
			local used = free - d:free_space()
			for i = 1, 300 do d:delete("k" .. i) end
			ngx.say(used > 0, " ", d:free_space() == free, " ", d:safe_set("all", ("x"):rep(free - 100)))
			ngx.say(d:free_space())`,
			"true true truenilfalse\n0\n"},
		{"a value that never fits evicts and fails", 64 << 10, `
			d:set("a", 1)
			ngx.say(d:set("b", ("x"):rep(70000)))
			ngx.say(d:get("a"))`,
			"falseno memorytrue\nnil\n"},
		{"a value of the same length takes the old place", 16 << 10, `
			local n = 0
			while d:safe_set("k" .. n, n) do n = n + 1 end
			ngx.say(d:safe_set("k1", 7), " ", d:get("k1"))
			ngx.say(d:safe_set("k1", "12345678", 0, 5), " ", d:get("k1"))`,
			"true 7\ntrue 123456785\n"},
		{"flush_all keeps stale values, flush_expired ends them", 64 << 10, `
			for i = 1, 9 do d:set("k" .. i, i) end
			d:flush_all()
			ngx.say(#d:get_keys(0), " ", d:get_stale("k9"))
			ngx.say(d:flush_expired(2), " ", d:flush_expired(), " ", d:get_stale("k9"))`,
			"0 9niltrue\n2 5 nil\n"},
		{"long strings", 2 << 20, `
			local s = ("0123456789"):rep(50000)
			d:set("s", s, 0, -3)
			d:rpush("l", s)
			local v, flags = d:get("s")
			ngx.say(v == s, " ", flags, " ", d:get_stale("s") == s, " ", d:lpop("l") == s, " ", d:llen("l"))
			local long = ("k"):rep(65535)
			d:set(long, true)
			local keys = d:get_keys(0)
			ngx.say(#keys, " ", keys[2] == long, " ", d:get(long))`,
			"true -3 true true 0\n2 true true\n"},
		{"any bytes", 64 << 10, `
			d:set("a\0b", "x\0\255y")
			d:set("a\0c", "")
			ngx.say(d:get("a\0b") == "x\0\255y", " ", d:get("a\0c") == "", " ", d:get("a"))`,
			"true true nil\n"},
		{"times", 64 << 10, `
			d:set("k", 1, 0.05)
			local ttl = d:ttl("k")
			ngx.say(ttl > 0.04 and ttl <= 0.05)
			d:expire("k", 100)
			ngx.sleep(0.06)
			ngx.say(d:get("k"), " ", d:incr("k", 1, 0, 1), " ", d:ttl("k") > 90)
			d:expire("k", 0.001)
			ngx.sleep(0.003)
			ngx.say(d:ttl("k") < 0, " ", d:get_stale("k"))
			ngx.say(d:incr("k", 1, 10, 5))
			ngx.say(d:ttl("k"))`,
			"true\n1 2 true\ntrue 2niltrue\n11nilfalse\n5\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dicts := declared(t, map[string]int64{"d": c.size})
			p, scripts := dataPool(t, Options{Dicts: dicts}, "local d = ngx.shared.d\n"+c.lua)
			if got := dataRun(t, p, scripts[0]); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if err := dicts[0].c.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDictsAcrossGenerations(t *testing.T) {
	registry := NewDicts()
	declare := func(name string, size int64) *Dict {
		t.Helper()
		d, err := registry.Declare(name, size)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	read := func(d *Dict) string {
		p, scripts := dataPool(t, Options{Dicts: []*Dict{d}},
			`local d = ngx.shared.d; ngx.print(d:incr("n", 1, 0), " ", d:capacity())`)
		defer func() { p.Close(); <-p.Done() }()
		return dataRun(t, p, scripts[0])
	}
	first := declare("d", 64<<10)
	if got := read(first); got != "1 65536" {
		t.Fatalf("first generation: %q", got)
	}
	second := declare("d", 64<<10)
	if second != first {
		t.Error("the same name and size gave another dictionary")
	}
	first.Release()
	if got := read(second); got != "2 65536" {
		t.Errorf("second generation: %q", got)
	}
	other := declare("d", 128<<10)
	if got := read(other); got != "1 131072" {
		t.Errorf("generation with another size: %q", got)
	}
	if got := read(second); got != "3 65536" {
		t.Errorf("old generation beside it: %q", got)
	}
	stats := registry.Stats()
	if len(stats) != 1 || stats[0].Name != "d" || stats[0].Capacity != 128<<10 || stats[0].Items != 1 {
		t.Errorf("stats: %+v", stats)
	}
	second.Release()
	other.Release()
	if stats := registry.Stats(); len(stats) != 0 {
		t.Errorf("stats of no dictionaries: %+v", stats)
	}
	last := declare("d", 64<<10)
	defer last.Release()
	if got := read(last); got != "1 65536" {
		t.Errorf("after all were released: %q", got)
	}
}

func TestDictSizes(t *testing.T) {
	registry := NewDicts()
	for _, c := range []struct {
		size int64
		free uint64 // pages for values of a new dictionary
		ok   bool
	}{
		{0, 0, false}, {-1, 0, false}, {8191, 0, false}, {1 << 40, 0, false},
		{8192, 1, true}, {12 << 10, 1, true}, {16 << 10, 1, true}, {20 << 10, 2, true},
		{20<<10 + 4095, 2, true}, {100 << 10, 22, true}, {1 << 20, 246, true},
	} {
		t.Run(fmt.Sprint(c.size), func(t *testing.T) {
			d, err := registry.Declare("d", c.size)
			if (err == nil) != c.ok {
				t.Fatalf("error %v", err)
			}
			if err != nil {
				if !strings.Contains(err.Error(), `shared dictionary "d"`) {
					t.Errorf("the error does not name the dictionary: %v", err)
				}
				return
			}
			defer d.Release()
			s := d.c.Stats()
			if s.Free != c.free*4096 || s.Capacity != uint64(c.size) {
				t.Errorf("%d bytes free of %d, want %d", s.Free, s.Capacity, c.free*4096)
			}
			if err := d.c.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

// modelScript applies random operations to a dictionary and to a Lua table and
// prints where they differ, then how many keys are too many, twice.
const modelScript = `
local d, model, random = ngx.shared.d, {}, math.random
local function any()
  local r = random(4)
  if r == 1 then return random(1000) / 8 end
  if r == 2 then return random() < 0.5 end
  return string.rep(string.char(random(0, 255)), random(0, random(3000)))
end
local ops = {}
function ops.set(k) local v, f = any(), random(0, 3); model[k] = {v, f}; return d:set(k, v, 0, f), true end
function ops.add(k) local v, have = any(), model[k]
  if not have then model[k] = {v, 0} end
  return d:add(k, v), not have end
function ops.replace(k) local v, have = any(), model[k]
  if have then model[k] = {v, 0} end
  return d:replace(k, v), have ~= nil end
function ops.delete(k) model[k] = nil; return d:delete(k), true end
function ops.get(k) local m = model[k]
  local v, f = d:get(k)
  if m and m.list then return f, "value is a list" end
  return v == (m and m[1]) and (f or 0) == (m and m[2] or 0), true end
function ops.incr(k) local m, n = model[k], random(9)
  local v, err = d:incr(k, n, 100)
  if m and type(m[1]) ~= "number" then return err, "not a number" end
  model[k] = {(m and m[1] or 100) + n, m and m[2] or 0}
  return v, model[k][1] end
local function push(k, left) local m, v = model[k], any()
  if type(v) == "boolean" then v = "b" end
  local n, err = d[left and "lpush" or "rpush"](d, k, v)
  if m and not m.list then return err, "value not a list" end
  m = m or {list = {}}; model[k] = m
  table.insert(m.list, left and 1 or #m.list + 1, v)
  return n, #m.list end
function ops.lpush(k) return push(k, true) end
function ops.rpush(k) return push(k, false) end
local function pop(k, left) local m = model[k]
  local v, err = d[left and "lpop" or "rpop"](d, k)
  if m and not m.list then return err, "value not a list" end
  local want = m and table.remove(m.list, left and 1 or #m.list)
  if m and #m.list == 0 then model[k] = nil end
  return v, want end
function ops.lpop(k) return pop(k, true) end
function ops.rpop(k) return pop(k, false) end
function ops.llen(k) local m = model[k]
  local n, err = d:llen(k)
  if m and not m.list then return err, "value not a list" end
  return n, m and #m.list or 0 end
function ops.expire(k)
  if random(20) > 1 then return 1, 1 end
  local had = model[k] ~= nil
  local ok = d:expire(k, 0.001); model[k] = nil
  ngx.sleep(0.002)
  return not had or ok, true end -- an expired one may still be there
local names = {}
for name in pairs(ops) do names[#names + 1] = name end
table.sort(names)
for i = 1, 20000 do
  local name, k = names[random(#names)], "key" .. random(200)
  local got, want = ops[name](k)
  if got ~= want then
    ngx.say(i, " ", name, " ", k, ": got ", tostring(got), ", want ", tostring(want))
  end
end
local n = 0
for _ in pairs(model) do n = n + 1 end
ngx.say(#d:get_keys(0) - n)
for k in pairs(model) do d:delete(k) end
d:flush_expired()
ngx.say(#d:get_keys(0))`

// TestDictAgainstModel compares random operations with a Lua table. The
// dictionary is large enough for all, so nothing is evicted.
func TestDictAgainstModel(t *testing.T) {
	dicts := declared(t, map[string]int64{"d": 4 << 20})
	p, scripts := dataPool(t, Options{Dicts: dicts}, fmt.Sprintf(`math.randomseed(%d)`, time.Now().UnixNano()%1e9)+modelScript)
	if got := dataRun(t, p, scripts[0]); got != "0\n0\n" {
		t.Error(got)
	}
	if err := dicts[0].c.Check(); err != nil {
		t.Error(err)
	}
	if s := dicts[0].c.Stats(); s.Items != 0 || s.Evicted != 0 || s.Refused != 0 {
		t.Errorf("%+v", s)
	}
}
