//go:build cgo && luajit

package luavm

import "testing"

// BenchmarkDict measures calls from compiled Lua, 1000 in each iteration, on
// one dictionary for all VMs: with -cpu 1,2 the second figure shows what two
// threads cost each other. ns/call is what matters.
func BenchmarkDict(b *testing.B) {
	const calls = 1000
	for _, c := range []struct{ name, body string }{
		{"incr_one_counter", `d:incr("w2:10.0.0.1", 1, 0, 1)`},
		{"incr_1000_counters", `d:incr(keys[i], 1, 0, 10)`},
		{"get_number", `d:get("n")`},
		{"get_string", `d:get("s")`},
		{"set_number", `d:set("k", i)`},
		{"set_evicting", `d:set(keys[i] .. i * 7, text)`},
	} {
		b.Run(c.name, func(b *testing.B) {
			dicts := declared(b, map[string]int64{"d": 128 << 10})
			p, scripts := dataPool(b, Options{Dicts: dicts, Workers: 2}, `
local d, text = ngx.shared.d, ("x"):rep(150)
if not ngx.config.bench_keys then
  d:set("n", 1)
  d:set("s", ("x"):rep(100))
  local keys = {}
  for i = 1, 1000 do keys[i] = "w8:" .. i end
  ngx.config.bench_keys = keys
end
local keys = ngx.config.bench_keys
for i = 1, 1000 do `+c.body+` end`)
			b.RunParallel(func(pb *testing.PB) {
				s, err := p.Pin(0)
				if err != nil {
					b.Error(err)
					return
				}
				defer s.Release()
				for pb.Next() {
					if out := s.Start(scripts[0], PhaseContent, nil); out.Kind != Done {
						b.Errorf("%+v: %v", out, out.Err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/calls, "ns/call")
		})
	}
}
