package main

import (
	"fmt"
	"os"
	"slices"
	"testing"
)

func TestUnchanged(t *testing.T) {
	const program = "/usr/local/bin/perigee edge"
	mapping := func(at, perm, path string, anonymous int) string {
		return fmt.Sprintf("%s %s 0000d000 fe:00 10863947                           %s\nSize:  8 kB\nRss:  8 kB\nAnonymous:  %d kB\nVmFlags: rd mr mw me sd\n",
			at, perm, path, anonymous)
	}
	for _, c := range []struct {
		name, smaps string
		want        []area
	}{
		{"code and constants", mapping("0040d000-0157b000", "r-xp", program, 0) + mapping("0157b000-027cf000", "r--p", program, 0),
			[]area{{0x40d000, 0x157b000}, {0x157b000, 0x27cf000}}},
		{"relocated constants", mapping("027cf000-027d3000", "r--p", program, 4), nil},
		{"variables", mapping("027d3000-028cd000", "rw-p", program, 0), nil},
		{"a library", mapping("7f0000000000-7f0000001000", "r-xp", "/usr/lib/libm.so.6", 0), nil},
		{"no file", mapping("c000000000-c000400000", "r--p", "", 0), nil},
		{"another program behind ours", mapping("0040d000-0157b000", "r-xp", program, 0) + mapping("7f0000000000-7f0000001000", "r-xp", "/bin/x", 0),
			[]area{{0x40d000, 0x157b000}}},
		{"the program was replaced", mapping("0040d000-0157b000", "r-xp", program+" (deleted)", 0), nil},
		{"a broken address", mapping("0040d000-zz", "r-xp", program, 0), nil},
		{"nothing", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := unchanged([]byte(c.smaps), program); !slices.Equal(got, c.want) {
				t.Errorf("%x, want %x", got, c.want)
			}
		})
	}
}

// The program goes on, smaller.
func TestForgetStart(t *testing.T) {
	mapped := func() int64 {
		text, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		return numberAfter(string(text), "RssFile:")
	}
	before := mapped()
	forgetStart()
	if after := mapped(); after >= before || after == 0 {
		t.Errorf("%d KiB of files are mapped, before it were %d KiB", after, before)
	}
}
