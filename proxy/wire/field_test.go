package wire

import (
	"strings"
	"testing"
)

func TestLookupField(t *testing.T) {
	for id := FieldOther + 1; id < fieldCount; id++ {
		name := id.String()
		if name == "" {
			t.Errorf("field %d has no name", id)
			continue
		}
		for _, as := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:]} {
			if got := LookupField([]byte(as)); got != id {
				t.Errorf("%q is field %d, want %d", as, got, id)
			}
		}
		// Every name that differs in one byte is another name.
		for i := range name {
			for _, c := range []byte("_-x9\x0d") {
				if other := name[:i] + string(c) + name[i+1:]; other != name && LookupField([]byte(other)) == id {
					t.Errorf("%q is taken for %s", other, name)
				}
			}
		}
	}
	for _, name := range []string{"x", "hos", "hostt", "x-y", strings.Repeat("a", 300), "content_length", "transfer_encoding"} {
		if id := LookupField([]byte(name)); id != FieldOther {
			t.Errorf("%q is taken for %s", name, id)
		}
	}
}

func TestFieldClasses(t *testing.T) {
	for id := FieldOther; id < fieldCount; id++ {
		if id.HopByHop() && id.EndToEnd() {
			t.Errorf("%s is both hop-by-hop and end-to-end", id)
		}
		if id.HopByHop() && id.TrailerAllowed() {
			t.Errorf("%s is hop-by-hop and goes on as a trailer", id)
		}
	}
	if FieldOther.HopByHop() || FieldOther.EndToEnd() || !FieldOther.TrailerAllowed() {
		t.Error("unknown fields are end-to-end, may be listed, and may be trailers")
	}
	if !HopByHop([]byte("KEEP-alive")) || HopByHop([]byte("keep_alive")) {
		t.Error("HopByHop does not follow the name")
	}
}

func TestConnectionOptions(t *testing.T) {
	raw := []byte("GET / HTTP/1.1\r\nConnection: ,a, B ,\r\nHost: x\r\nConnection:\r\nConnection: c\r\n\r\n")
	var h RequestHead
	if _, err := ScanRequest(&h, raw, 0, Limits{}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for option, at := h.NextOption(raw, 0); option != nil; option, at = h.NextOption(raw, at) {
		got = append(got, string(option))
	}
	if s := strings.Join(got, " "); s != "a B c" {
		t.Errorf("options are %q", s)
	}
	if !h.Lists(raw, "b") || h.Lists(raw, "host") {
		t.Error("Lists does not follow the options")
	}
	if _, ok := h.Find(FieldCookie); ok {
		t.Error("found a Cookie that is not there")
	}
	if f, ok := h.Find(FieldConnection); !ok || string(f.Value.Of(raw)) != ",a, B ," {
		t.Error("Find gives another field than the first")
	}
}

func TestBytes(t *testing.T) {
	if got := string(TrimOWS([]byte(" \t a\v \t"))); got != "a\v" {
		t.Errorf("trimmed to %q", got)
	}
	if EqualFold([]byte("\u212aeep"), "keep") || !EqualFold([]byte("KeeP"), "keep") || EqualFold([]byte("kee"), "keep") {
		t.Error("EqualFold is not ASCII folding")
	}
	for _, c := range []struct {
		token string
		want  bool
	}{{"", false}, {"a", true}, {"!#$%&'*+-.^_`|~09azAZ", true}, {"a b", false}, {"a:", false}, {"\x80", false}} {
		if IsToken([]byte(c.token)) != c.want {
			t.Errorf("IsToken(%q) is %v", c.token, !c.want)
		}
	}
}

// A wrong byte is found at every place of strings of every length.
func TestFirstBad(t *testing.T) {
	for length := range 40 {
		b := []byte(strings.Repeat("a", length))
		if got := firstBad(b, classValue, ' '); got != length {
			t.Errorf("clean string of %d: %d", length, got)
		}
		for at := range b {
			for _, c := range []byte{0, 1, 0x1f, 0x7f} {
				b[at] = c
				if got := firstBad(b, classValue, ' '); got != at {
					t.Errorf("%#x at %d of %d: found at %d", c, at, length, got)
				}
			}
			for _, c := range []byte{'\t', ' ', 0x7e, 0x80, 0xff} {
				b[at] = c
				if got := firstBad(b, classValue, ' '); got != length {
					t.Errorf("%#x at %d of %d is refused", c, at, length)
				}
			}
			b[at] = 'a'
		}
	}
}
