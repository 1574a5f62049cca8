//go:build cgo && luajit

package luavm

import (
	"fmt"
	"strings"
	"testing"
)

// TestNamesInLowerCase: names of every length around that of a word, with the bytes
// next to A and Z in every place, and with the highest bit set, where the same
// letters are none.
func TestNamesInLowerCase(t *testing.T) {
	var head, want strings.Builder
	head.WriteString("GET / HTTP/1.1\r\n")
	for n := 1; n <= 25; n++ {
		name := make([]byte, n)
		for i := range name {
			name[i] = "AZ@[az`{09-_\xc1\xda\x80\xffMm"[(i*5+n)%18]
		}
		lower := make([]byte, n)
		for i, c := range name {
			if lower[i] = c; c >= 'A' && c <= 'Z' {
				lower[i] += 'a' - 'A'
			}
		}
		fmt.Fprintf(&head, "%s: %d\r\n", name, n)
		fmt.Fprintf(&want, "%q=%d ", lower, n)
	}
	head.WriteString("\r\n")
	p, scripts := dataPool(t, Options{Workers: 1}, `
		local all = {}
		for name, value in pairs(ngx.req.get_headers(0)) do all[tonumber(value)] = name end
		for n = 1, #all do ngx.print(#all[n], ":", all[n]) end`)
	s := pinned0(t, p, 0)
	defer s.Release()
	if out := s.Start(scripts[0], PhaseContent, &Input{Head: []byte(head.String())}); out.Kind != Done {
		t.Fatal(out.Kind, out.Err)
	}
	var got strings.Builder
	left := string(s.Output())
	for n := 1; left != ""; n++ {
		var size int
		if _, err := fmt.Sscanf(left, "%d:", &size); err != nil {
			t.Fatal(err)
		}
		_, left, _ = strings.Cut(left, ":")
		fmt.Fprintf(&got, "%q=%d ", left[:size], n)
		left = left[size:]
	}
	if got.String() != want.String() {
		t.Errorf("names are\n%s, want\n%s", got.String(), want.String())
	}
}
