//go:build cgo && luajit

package luavm

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

// TestDictUnderParallelUse lets 16 goroutines on 4 VMs work on one
// dictionary: on keys of their own, whose values a model in Go knows, on
// shared counters, whose sum is known, and on shared lists, where what goes in
// comes out once.
func TestDictUnderParallelUse(t *testing.T) {
	const workers, rounds = 16, 400
	dicts := declared(t, map[string]int64{"d": 8 << 20})
	texts := make([]string, workers)
	for i := range texts {
		texts[i] = fmt.Sprintf(`
local d, me = ngx.shared.d, %d
for i = 1, 50 do
  d:incr("shared", 1, 0)
  d:incr("fading", 1, 0, 0.001)
  d:lpush("queue", me * 1000 + i)
  local v = d:rpop("queue")
  if v then d:incr("popped", v, 0) d:incr("pops", 1, 0) end
  d:incr("pushed", me * 1000 + i, 0)
end
local n = d:incr("own" .. me, 1, 0)
d:set("text" .. me, ("x"):rep(n * 7 %% 5000) .. me)
ngx.print(n, " ", #d:get("text" .. me), " ", d:get("text" .. me):match("%%d+$"))`, i)
	}
	p, scripts := dataPool(t, Options{Dicts: dicts, Workers: 4}, append(texts, `
local d = ngx.shared.d
local left, n = 0, d:llen("queue")
for _ = 1, n do left = left + d:lpop("queue") end
ngx.print(d:get("shared"), " ", d:get("pushed") - d:get("popped") - left, " ", d:get("pops") + n)`)...)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for n := 1; n <= rounds; n++ {
				want := fmt.Sprintf("%d %d %d", n, n*7%5000+len(fmt.Sprint(i)), i)
				if got := dataRun(t, p, scripts[i]); got != want {
					t.Errorf("worker %d: got %q, want %q", i, got, want)
					return
				}
			}
		})
	}
	wg.Wait()
	total := workers * rounds * 50
	if got, want := dataRun(t, p, scripts[workers]), fmt.Sprintf("%d 0 %d", total, total); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := dicts[0].c.Check(); err != nil {
		t.Error(err)
	}
}

// TestDictUnderPressure fills small dictionaries from all sides, with all
// operations. Whatever is found must be what was stored under that key.
func TestDictUnderPressure(t *testing.T) {
	const text = `
local d, random = ngx.shared[%q], math.random
math.randomseed(%d)
local sizes = {0, 5, 40, 90, 150, 400, 900, 2500, 6000}
local function value(k) return k .. ("."):rep(sizes[random(#sizes)]) end
local function check(v, k, what)
  if v ~= nil and (type(v) ~= "string" or v:match("^[^.]*") ~= k) then
    ngx.say(what, " ", k, ": ", tostring(v))
  end
end
for i = 1, 3000 do
  local k, op = "key" .. random(300), random(100)
  if op <= 30 then d:set(k, value(k), random() < 0.2 and 0.001 or 0)
  elseif op <= 50 then check(d:get(k), k, "get")
  elseif op <= 55 then check(d:get_stale(k), k, "get_stale")
  elseif op <= 60 then d:delete(k)
  elseif op <= 65 then d:safe_add(k, value(k))
  elseif op <= 70 then d:replace(k, value(k))
  elseif op <= 80 then k = "list" .. random(5) d:lpush(k, value(k))
  elseif op <= 88 then k = "list" .. random(5) check(d:rpop(k), k, "rpop")
  elseif op <= 92 then d:incr("n" .. random(50), 1, 0, 0.002)
  elseif op <= 95 then for _, key in ipairs(d:get_keys(20)) do d:expire(key, 1) end
  elseif op == 96 then d:flush_expired(3)
  elseif op == 97 and random(20) == 1 then d:flush_all()
  else d:ttl(k) end
  if i %% 100 == 0 then ngx.update_time() end
end`
	sizes := map[string]int64{"8k": 8 << 10, "20k": 20 << 10, "100k": 100 << 10, "400k": 400 << 10}
	dicts := declared(t, sizes)
	var texts []string
	for name := range sizes {
		for range 4 {
			texts = append(texts, fmt.Sprintf(text, name, rand.IntN(1e9)))
		}
	}
	p, scripts := dataPool(t, Options{Dicts: dicts, Workers: 4}, texts...)
	var wg sync.WaitGroup
	for _, sc := range scripts {
		wg.Go(func() {
			for range 5 {
				if got := dataRun(t, p, sc); got != "" {
					t.Error(strings.SplitN(got, "\n", 2)[0])
				}
			}
		})
	}
	wg.Wait()
	for _, d := range dicts {
		if err := d.c.Check(); err != nil {
			t.Errorf("%s: %v", d.Name(), err)
		}
		if s := d.c.Stats(); s.Evicted == 0 {
			t.Errorf("%s: nothing was evicted: the test is too mild", d.Name())
		}
	}
}
