package upstream

import "testing"

func TestTrunkCanWait(t *testing.T) {
	tests := map[string]struct {
		live, fresh, bytes, sent int
		want                     bool
	}{
		"nothing to send":               {live: 4},
		"the endpoint has others":       {live: 4, fresh: 1, bytes: 100, want: true},
		"the endpoint has nothing":      {live: 1, fresh: 1, bytes: 100},
		"as many wait as it has":        {live: 4, fresh: 2, bytes: 200},
		"no request, but a window":      {live: 4, bytes: 13, want: true},
		"enough requests":               {live: 100, fresh: enoughRequests, bytes: 3200},
		"enough bytes":                  {live: 9, fresh: 1, bytes: enoughBytes},
		"most of the bytes have left":   {live: 9, fresh: 1, bytes: enoughBytes, sent: enoughBytes - 1, want: true},
		"all bytes have left":           {live: 9, fresh: 0, bytes: 100, sent: 100},
		"a body of the only exchange":   {live: 1, bytes: 4096, want: true},
		"the last exchange has left it": {live: 0, bytes: 13},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			k := &Trunk{live: test.live, fresh: test.fresh, out: make([]byte, test.bytes), sent: test.sent}
			if got := k.CanWait(); got != test.want {
				t.Errorf("CanWait: %v, want %v", got, test.want)
			}
		})
	}
}
