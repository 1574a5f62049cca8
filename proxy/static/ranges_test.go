package static

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseRanges(t *testing.T) {
	for _, c := range []struct {
		name, field string
		size        int64
		want        string
	}{
		{"first bytes", "bytes=0-4", 10, "0-5"},
		{"one byte", "bytes=9-9", 10, "9-10"},
		{"from", "bytes=4-", 10, "4-10"},
		{"last bytes", "bytes=-3", 10, "7-10"},
		{"more last bytes than there are", "bytes=-30", 10, "0-10"},
		{"end beyond the file", "bytes=5-100", 10, "5-10"},
		{"two", "bytes=0-0,5-6", 10, "0-1 5-7"},
		{"blanks", "bytes= 0 - 0 , 5 - ", 10, "0-1 5-10"},
		{"unit in any case", "BYTES=1-2", 10, "1-3"},
		{"not in order", "bytes=5-6,0-0", 10, "5-7 0-1"},
		{"one of them beyond", "bytes=0-0,50-60", 10, "0-1"},
		{"one of them turned round", "bytes=5-3,0-0", 10, "0-1"},
		{"beyond", "bytes=10-", 10, "416"},
		{"turned round", "bytes=5-3", 10, "416"},
		{"no last bytes", "bytes=-0", 10, "416"},
		{"nothing", "bytes=", 10, "416"},
		{"only a comma", "bytes=,", 10, "416"},
		{"ends in a comma", "bytes=0-1,", 10, "416"},
		{"no number", "bytes=a-b", 10, "416"},
		{"no dash", "bytes=5", 10, "416"},
		{"two dashes", "bytes=1--2", 10, "416"},
		{"sign", "bytes=+1-2", 10, "416"},
		{"text behind", "bytes=1-2x", 10, "416"},
		{"tab", "bytes=\t1-2", 10, "416"},
		{"overflow", "bytes=0-99999999999999999999", 10, "416"},
		{"largest", "bytes=0-9223372036854775806", 10, "0-10"},
		{"only a dash", "bytes=-", 10, "416"},
		{"other unit", "lines=0-1", 10, "whole"},
		{"no unit", "0-1", 10, "whole"},
		{"unit alone", "bytes", 10, "whole"},
		{"more than the file together", "bytes=0-9,0-9", 10, "whole"},
		{"all of it twice and a bit", "bytes=0-,0-,0-", 10, "whole"},
		{"too many", "bytes=0-0,1-1,2-2,3-3", 10, "whole"},
		{"just enough", "bytes=0-0,1-1,2-2", 10, "0-1 1-2 2-3"},
		{"empty file from", "bytes=0-", 0, "whole"},
		{"empty file last", "bytes=-1", 0, "whole"},
		{"empty file beyond", "bytes=1-", 0, "416"},
		{"large file", "bytes=5000000000-5000000001", 6000000000, "5000000000-5000000002"},
	} {
		t.Run(c.name, func(t *testing.T) {
			spans, outcome := parseRanges([]byte(c.field), c.size, 3)
			got := map[rangeOutcome]string{whole: "whole", unsatisfiable: "416"}[outcome]
			if outcome == partial {
				var all []string
				for _, s := range spans {
					all = append(all, fmt.Sprintf("%d-%d", s.from, s.to))
				}
				got = strings.Join(all, " ")
			}
			if got != c.want {
				t.Errorf("%q of %d: %s, want %s", c.field, c.size, got, c.want)
			}
		})
	}
}

// Whatever is asked, only bytes of the file are sent, and not more of them than
// it has.
func FuzzParseRanges(f *testing.F) {
	for _, field := range []string{"bytes=0-1", "bytes=-1,2-", "bytes=9223372036854775807-", "bytes=0-9223372036854775807", "bytes=-9223372036854775807", "x"} {
		f.Add(field, int64(10), 5)
	}
	f.Add("bytes=0-", int64(1<<62), 1)
	f.Fuzz(func(t *testing.T, field string, size int64, most int) {
		if size < 0 || most < 0 {
			return
		}
		spans, outcome := parseRanges([]byte(field), size, most)
		if (len(spans) > 0) != (outcome == partial) || len(spans) > most {
			t.Fatalf("%d spans, outcome %d, at most %d", len(spans), outcome, most)
		}
		var total int64
		for _, s := range spans {
			if s.from < 0 || s.from >= s.to || s.to > size {
				t.Fatalf("%q of %d: %d-%d", field, size, s.from, s.to)
			}
			total += s.to - s.from
		}
		if total > size {
			t.Fatalf("%q: %d bytes of %d", field, total, size)
		}
	})
}
