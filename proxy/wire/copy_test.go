package wire

import (
	"strings"
	"testing"
)

// TestCopy compares with what is said of a field by itself.
func TestCopy(t *testing.T) {
	heads := map[string]string{
		"as most are":        "Host: a\r\nAccept: */*\r\nCookie: b=c; d=e\r\n",
		"no space":           "Host:a\r\nAccept: */*\r\n",
		"more spaces":        "Host:  a\r\nAccept: */*  \r\nX-A: b\r\n",
		"tabs":               "Host:\ta\r\nX-A: b\t\r\nX-B: c\r\n",
		"no values":          "Host: a\r\nX-A:\r\nX-B: \r\nX-C: \t \r\nX-D: e\r\n",
		"values of one byte": "Host: a\r\nX: :\r\nY: ,\r\n",
	}
	for name, fields := range heads {
		t.Run(name, func(t *testing.T) {
			head := []byte("GET / HTTP/1.1\r\n" + fields + "\r\n")
			var h RequestHead
			if n, err := ScanRequest(&h, head, 0, Limits{}); n != len(head) || err != nil {
				t.Fatal(n, err)
			}
			for drop := range 1 << len(h.Fields) {
				got, want := []byte(">"), ">"
				c := Copy{Head: head}
				for i := range h.Fields {
					f := &h.Fields[i]
					if drop>>i&1 != 0 {
						continue
					}
					want += string(f.Name.Of(head)) + ": " + string(f.Value.Of(head)) + "\r\n"
					got = c.Append(got, f)
				}
				if got = c.Flush(got); string(got) != want {
					t.Errorf("without %b: %q, want %q", drop, got, want)
				}
			}
		})
	}
}

func TestCopyAs(t *testing.T) {
	head := []byte("GET / HTTP/1.1\r\nX-A: 1\r\nHost: a\r\nX-B: 2\r\n\r\n")
	var h RequestHead
	if _, err := ScanRequest(&h, head, 0, Limits{}); err != nil {
		t.Fatal(err)
	}
	c := Copy{Head: head}
	var got []byte
	for i := range h.Fields {
		if f := &h.Fields[i]; f.ID == FieldHost {
			got = c.AppendAs(got, f, []byte("other"))
		} else {
			got = c.Append(got, f)
		}
	}
	if want := strings.Replace(string(head[16:len(head)-2]), "a\r", "other\r", 1); string(c.Flush(got)) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
