//go:build cgo && luajit

package luavm

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perigee/luavm/shim"
	"perigee/ratelimit"
)

var limitSpecs = []struct {
	name string
	spec ratelimit.Spec
}{
	{"bucket", ratelimit.Spec{Rate: 100, Per: time.Second, Burst: 20}},
	{"odd", ratelimit.Spec{Rate: 700_001, Per: time.Second, Burst: 7}},
	{"slow", ratelimit.Spec{Rate: 5, Per: time.Hour, Burst: 3}},
	{"delay", ratelimit.Spec{Rate: 50, Per: time.Second, Burst: 5, Delay: 200 * time.Millisecond}},
	{"sliding", ratelimit.Spec{Algorithm: ratelimit.Sliding, Rate: 50, Per: time.Second}},
	{"sliding day", ratelimit.Spec{Algorithm: ratelimit.Sliding, Rate: 1_000_000, Per: 24 * time.Hour}},
	{"fixed", ratelimit.Spec{Algorithm: ratelimit.Fixed, Rate: 40, Per: 2 * time.Second}},
	{"month", ratelimit.Spec{Algorithm: ratelimit.Month, Rate: 30}},
}

func limitTable(t testing.TB) *ratelimit.Table {
	t.Helper()
	table, err := ratelimit.NewTable(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(table.Close)
	return table
}

func layout(t testing.TB, table *ratelimit.Table, name string, s ratelimit.Spec) (ratelimit.Limit, shim.LimitWords) {
	t.Helper()
	l, err := table.Limit(name, s)
	if err != nil {
		t.Fatal(err)
	}
	words, ok := table.Layout(&l)
	if !ok {
		t.Fatalf("%s has no layout", name)
	}
	return l, words
}

// TestLimitInCIsTheOneInGo asks Go on one table and C on another, and both in
// turn on a third: every answer is the same, to the nanosecond.
func TestLimitInCIsTheOneInGo(t *testing.T) {
	inGo, inC, mixed := limitTable(t), limitTable(t), limitTable(t)
	for _, s := range limitSpecs {
		t.Run(s.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(3, uint64(len(s.name))))
			goLimit, _ := layout(t, inGo, s.name, s.spec)
			_, cLimit := layout(t, inC, s.name, s.spec)
			mixedLimit, mixedWords := layout(t, mixed, s.name, s.spec)
			now := inGo.Clock().Now()
			pause := max(int64(s.spec.Per)/s.spec.Rate, 1)
			if s.spec.Algorithm == ratelimit.Month {
				pause = int64(24 * time.Hour)
			}
			for i := range 30000 {
				key := []byte(strings.Repeat("k", rng.IntN(3)*20) + fmt.Sprint(rng.IntN(40)))
				cost := int64(rng.IntN(4)) * int64(1+rng.IntN(50)/49*1000)
				if rng.IntN(3) == 0 {
					now += rng.Int64N(3*pause + 1)
				}
				r := inGo.Take(&goLimit, key, cost, now)
				q := goLimit.Quota(r, cost)
				want := shim.LimitAnswer{Allowed: r.Allowed, Remaining: float64(q.Remaining), Wait: float64(q.Retry), Reset: float64(q.Reset)}
				if r.Allowed {
					want.Wait = float64(r.Delay)
				} else if q.Retry < 0 {
					want.Wait = -1
				}
				got := shim.TakeLimit(&cLimit, key, cost, now)
				if got != want && (cost > 0 || got.Allowed != want.Allowed) {
					t.Fatalf("step %d, key %s, cost %d: C says %+v, Go %+v", i, key, cost, got, want)
				}
				either := mixed.Peek(&mixedLimit, key, cost, now).Allowed
				if rng.IntN(2) == 0 {
					either = either && mixed.Take(&mixedLimit, key, cost, now).Allowed
				} else {
					either = either && shim.TakeLimit(&mixedWords, key, cost, now).Allowed
				}
				if either != want.Allowed {
					t.Fatalf("step %d, key %s, cost %d: in turn %v, alone %v", i, key, cost, either, want.Allowed)
				}
			}
		})
	}
	if e := inC.Stats().Evicted + mixed.Stats().Evicted; e != 0 {
		t.Errorf("%d active keys given up", e)
	}
}

// TestLimitGoAndCAtOnce has both decide on the same new keys at the same time,
// while slots of idle keys are taken over all the time.
func TestLimitGoAndCAtOnce(t *testing.T) {
	table := limitTable(t)
	limit, words := layout(t, table, "both", ratelimit.Spec{Rate: 1, Per: time.Hour, Burst: 3})
	_, brief := layout(t, table, "brief", ratelimit.Spec{Rate: 1_000_000, Per: time.Second, Burst: 1})
	const keys = 200
	start := table.Clock().Now()
	var admitted [keys]atomic.Int64
	for k := range keys {
		now := start + int64(k)*int64(time.Second)
		var all sync.WaitGroup
		for w := range 8 {
			all.Go(func() {
				for range 3 {
					allowed := false
					if w%2 == 0 {
						allowed = table.Take(&limit, []byte{byte(k)}, 1, now).Allowed
					} else {
						allowed = shim.TakeLimit(&words, []byte{byte(k)}, 1, now).Allowed
					}
					if allowed {
						admitted[k].Add(1)
					}
				}
				for i := range 300 {
					shim.TakeLimit(&brief, fmt.Append(nil, w, k, i), 1, now)
				}
			})
		}
		all.Wait()
	}
	for k := range admitted {
		if n := admitted[k].Load(); n != 3 {
			t.Errorf("key %d was admitted %d times, want 3", k, n)
		}
	}
	if s := table.Stats(); s.Evicted != 0 || s.Idle == 0 {
		t.Errorf("%d active keys given up, %d idle", s.Evicted, s.Idle)
	}
}

// TestLimitFromLua counts with Go under the same name, without crossing into it.
func TestLimitFromLua(t *testing.T) {
	table := limitTable(t)
	limit, words := layout(t, table, "api", ratelimit.Spec{Rate: 1, Per: time.Hour, Burst: 5})
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprint("strict ", strict), func(t *testing.T) {
			key := fmt.Sprint("key", strict)
			p, scripts := dataPool(t, Options{Strict: strict, Limits: []Limit{{Name: "api", Words: words, Keep: table}}}, `
				local key = "`+key+`"
				for i = 1, 3 do
				  local ok, left, wait = perigee.limit("api", key)
				  ngx.say(ok, " ", left, " ", wait)
				end
				local ok, left, wait = perigee.limit("api", key, 2)
				ngx.say(ok, " ", left, " ", wait > 3500 and wait <= 3600)
				ngx.say(perigee.limit("api", key, 6) , " ", select("#", perigee.limit("api", key, 6)))
				ngx.say((perigee.limit("api", ("x"):rep(300))))
				for _, args in ipairs{{"none", "k"}, {"api"}, {"api", {}}, {"api", "k", -1}, {"api", "k", 0.5}} do
				  ngx.say(select(2, pcall(perigee.limit, args[1], args[2], args[3])))
				end`)
			part := append([]byte{byte(len(key))}, key...)
			if !table.Take(&limit, part, 1, table.Clock().Now()).Allowed {
				t.Fatal("refused in Go before Lua asked")
			}
			got := dataRun(t, p, scripts[0])
			want := "true 3 0\ntrue 2 0\ntrue 1 0\nfalse 1 true\nfalse1 2\ntrue\n" +
				"there is no limit \"none\" in rate_limits\n" +
				"bad argument #2 to 'limit' (string expected, got nil)\n" +
				"bad argument #2 to 'limit' (string expected, got table)\n" +
				"bad argument #3 to 'limit' (whole number expected)\n" +
				"bad argument #3 to 'limit' (whole number expected)\n"
			want = strings.Replace(want, "false1 2", "false 2", 1)
			if got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			if r := table.Peek(&limit, part, 1, table.Clock().Now()); limit.Quota(r, 1).Remaining != 1 {
				t.Errorf("Go sees %d left", limit.Quota(r, 1).Remaining)
			}
		})
	}
}
