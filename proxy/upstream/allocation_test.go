package upstream

import (
	"testing"

	"perigee/proxy/wire"
)

// TestExchangeAllocatesNothing holds the kept connection's path: choosing,
// acquiring, sending, reading head and body, releasing.
func TestExchangeAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Log("the race detector allocates; counted without it")
		return
	}
	for name, answer := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	} {
		g := group(t, testConfig(origin(t, rawAnswering(answer)), "127.0.0.1:1"))
		g.members[1].endpoint.Failed()
		head := []byte(request)
		res := &wire.ResponseHead{}
		one := func() {
			if err := discard(g, head, res); err != nil {
				t.Fatal(err)
			}
		}
		for range 100 {
			one()
		}
		if n := testing.AllocsPerRun(1000, one); n != 0 {
			t.Errorf("%s: %v allocations per exchange, want 0", name, n)
		}
	}
}
