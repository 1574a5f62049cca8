//go:build cgo && luajit

package luavm

import (
	"testing"
	"time"
)

// BenchmarkRegex times one call of each function in a compiled loop.
func BenchmarkRegex(b *testing.B) {
	for _, c := range []struct{ name, call string }{
		{"find", `re.find("/orders/1234/items", [[\d+]], "jo")`},
		{"find uncached", `re.find("/orders/1234/items", [[\d+]])`},
		{"match", `re.match("/orders/1234/items", [[^/(\w+)/(\d+)]], "jo")`},
		{"match names", `re.match("/orders/1234/items", [[^/(?<kind>\w+)/(?<id>\d+)]], "jo")`},
		{"match interpreted", `re.match("/orders/1234/items", [[^/(\w+)/(\d+)]], "o")`},
		{"sub", `re.sub("/orders/1234/items", [[/(\d+)]], "/<$1>", "jo")`},
		{"gsub", `re.gsub("a-b-c-d-e-f", "-", "_", "jo")`},
		{"gsub function", `re.gsub("a-b-c-d-e-f", "-", tilde, "jo")`},
	} {
		b.Run(c.name, func(b *testing.B) {
			const calls = 1000
			p, scripts := testPool(b, Options{CPUBudget: time.Second, MemoryLimit: 64 << 20}, `
				local re = ngx.re
				local function tilde() return "~" end
				for i = 1, `+"1000"+` do `+c.call+` end`)
			b.ResetTimer()
			for i := 0; i < b.N; i += calls {
				access(b, p, scripts[0], nil)
			}
		})
	}
}
