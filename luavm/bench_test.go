//go:build cgo && luajit

package luavm

import (
	"testing"
	"time"

	"perigee/luavm/shim"
)

// accessText is the script that the speed contract is about: two headers read,
// one shared counter, one upstream header set.
const accessText = `
local h = ngx.var
local auth = h.http_authorization
local id = h.http_x_request_id
local n = ngx.shared.counters:incr("requests", 1, 0)
if not auth then return ngx.exit(ngx.HTTP_UNAUTHORIZED) end
ngx.req.set_header("X-User", id or "-")`

var accessHead = []byte("GET /orders/1 HTTP/1.1\r\nHost: api.example.com\r\n" +
	"User-Agent: curl/8.5.0 (x86_64-pc-linux-gnu)\r\nAccept: application/json, text/plain, */*\r\n" +
	"Accept-Encoding: gzip, deflate, br\r\nAuthorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9\r\n" +
	"X-Request-Id: 6f1c2b7a-2f5f-4d1c-9a3b-112233445566\r\nConnection: keep-alive\r\n\r\n")

func accessPool(t testing.TB) (*Pool, *Script) {
	dicts := NewDicts()
	d, err := dicts.Declare("counters", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Release)
	p, scripts := testPool(t, Options{
		CPUBudget: 100 * time.Millisecond, MemoryLimit: 64 << 20, Dicts: []*Dict{d},
	}, accessText)
	return p, scripts[0]
}

// access is one exchange with one access script, as a host drives it.
func access(t testing.TB, p *Pool, sc *Script, in *Input) {
	s, err := p.Pin(1)
	if err != nil {
		t.Fatal(err)
	}
	if out := s.Start(sc, PhaseAccess, in); out.Kind != Done {
		t.Fatal(out.Err)
	}
	s.Release()
}

func TestAccessScriptCosts(t *testing.T) {
	p, sc := accessPool(t)
	in := &Input{Head: accessHead}
	for range 1000 {
		access(t, p, sc, in)
	}
	before := p.Stats().VMs[0].Crossings
	if n := testing.AllocsPerRun(1000, func() { access(t, p, sc, in) }); n != 0 {
		t.Errorf("%v allocations per access script", n)
	}
	if n := p.Stats().VMs[0].Crossings - before; n != 1001 {
		t.Errorf("%d crossings for 1001 scripts", n)
	}
}

// The contract: at most 40 empty crossings, Go's part included. The best of
// many rounds of both, since the machine may be busy.
func TestAccessScriptSpeed(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("a measurement")
	}
	p, sc := accessPool(t)
	in := &Input{Head: accessHead}
	best := func(n int, f func()) time.Duration {
		least := time.Hour
		for range 40 {
			begin := time.Now()
			for range n {
				f()
			}
			least = min(least, time.Since(begin)/time.Duration(n))
		}
		return least
	}
	access1 := best(2000, func() { access(t, p, sc, in) })
	empty := best(20000, shim.Nothing)
	t.Logf("empty crossing %v, access script %v: %.1fx", empty, access1, float64(access1)/float64(empty))
	if access1 > 40*empty {
		t.Errorf("more than 40 empty crossings")
	}
}

func BenchmarkNothing(b *testing.B) {
	for b.Loop() {
		shim.Nothing()
	}
}

func BenchmarkEmptyHandler(b *testing.B) {
	p, scripts := testPool(b, Options{CPUBudget: 100 * time.Millisecond, MemoryLimit: 64 << 20}, "")
	b.ReportAllocs()
	for b.Loop() {
		access(b, p, scripts[0], nil)
	}
}

func BenchmarkAccess(b *testing.B) {
	p, sc := accessPool(b)
	in := &Input{Head: accessHead}
	b.ReportAllocs()
	for b.Loop() {
		access(b, p, sc, in)
	}
}

func BenchmarkAccessParallel(b *testing.B) {
	p, sc := accessPool(b)
	in := &Input{Head: accessHead}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			access(b, p, sc, in)
		}
	})
}

func BenchmarkExit(b *testing.B) {
	p, scripts := testPool(b, Options{CPUBudget: 100 * time.Millisecond, MemoryLimit: 64 << 20}, "ngx.exit(403)")
	b.ReportAllocs()
	for b.Loop() {
		s, _ := p.Pin(0)
		s.Start(scripts[0], PhaseAccess, nil)
		s.Release()
	}
}

func BenchmarkWaitAndResume(b *testing.B) {
	p, scripts := testPool(b, Options{CPUBudget: 100 * time.Millisecond, MemoryLimit: 64 << 20},
		"local sleep = ngx.sleep while true do sleep(0) end")
	s := pinned(b, p)
	out := s.Start(scripts[0], PhaseContent, nil)
	b.ReportAllocs()
	for b.Loop() {
		out = s.Resume(out.Op, nil)
	}
}

func BenchmarkNewVM(b *testing.B) {
	p, _ := testPool(b, Options{}, "")
	for b.Loop() {
		vm, err := openVM(p)
		if err != nil {
			b.Fatal(err)
		}
		vm.close()
	}
}
