package wire

import "testing"

func TestDecimal(t *testing.T) {
	for _, c := range []struct {
		text string
		want int64
		ok   bool
	}{
		{"", 0, false}, {"0", 0, true}, {"007", 7, true}, {"12", 12, true}, {"-1", 0, false}, {"+1", 0, false},
		{" 1", 0, false}, {"1 ", 0, false}, {"1x", 0, false}, {"1/", 0, false}, {"1:", 0, false},
		{"999999999999999999", 999999999999999999, true}, {"1000000000000000000", 0, false},
	} {
		if n, ok := Decimal([]byte(c.text)); n != c.want || ok != c.ok {
			t.Errorf("%q: %d, %t; want %d, %t", c.text, n, ok, c.want, c.ok)
		}
	}
}
