package h2

import (
	"errors"

	"golang.org/x/net/http2/hpack"
)

// entry is one of HPACK's static table (RFC 7541 appendix A).
type entry struct{ name, value string }

var static = [...]entry{
	{":authority", ""}, {":method", "GET"}, {":method", "POST"}, {":path", "/"},
	{":path", "/index.html"}, {":scheme", "http"}, {":scheme", "https"}, {":status", "200"},
	{":status", "204"}, {":status", "206"}, {":status", "304"}, {":status", "400"},
	{":status", "404"}, {":status", "500"}, {"accept-charset", ""}, {"accept-encoding", "gzip, deflate"},
	{"accept-language", ""}, {"accept-ranges", ""}, {"accept", ""}, {"access-control-allow-origin", ""},
	{"age", ""}, {"allow", ""}, {"authorization", ""}, {"cache-control", ""},
	{"content-disposition", ""}, {"content-encoding", ""}, {"content-language", ""}, {"content-length", ""},
	{"content-location", ""}, {"content-range", ""}, {"content-type", ""}, {"cookie", ""},
	{"date", ""}, {"etag", ""}, {"expect", ""}, {"expires", ""},
	{"from", ""}, {"host", ""}, {"if-match", ""}, {"if-modified-since", ""},
	{"if-none-match", ""}, {"if-range", ""}, {"if-unmodified-since", ""}, {"last-modified", ""},
	{"link", ""}, {"location", ""}, {"max-forwards", ""}, {"proxy-authenticate", ""},
	{"proxy-authorization", ""}, {"range", ""}, {"referer", ""}, {"refresh", ""},
	{"retry-after", ""}, {"server", ""}, {"set-cookie", ""}, {"strict-transport-security", ""},
	{"transfer-encoding", ""}, {"user-agent", ""}, {"vary", ""}, {"via", ""}, {"www-authenticate", ""},
}

// names are the places of names in the static table, from 1.
var names = func() map[string]byte {
	m := make(map[string]byte, len(static))
	for i, e := range static {
		if _, twice := m[e.name]; !twice {
			m[e.name] = byte(i + 1)
		}
	}
	return m
}()

// appendInt appends n in HPACK's form, its first byte sharing with first's high
// bits.
func appendInt(b []byte, first byte, bits uint, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(b, first|byte(n))
	}
	b = append(b, first|byte(most))
	for n -= most; n >= 128; n >>= 7 {
		b = append(b, byte(n)|128)
	}
	return append(b, byte(n))
}

func appendText(b, s []byte) []byte { return append(appendInt(b, 0, 7, len(s)), s...) }

// appendLiteral appends a field whose name stands in the static table.
func appendLiteral(b []byte, place int, value []byte) []byte {
	return appendText(appendInt(b, 0, 4, place), value)
}

// appendField appends a field as a literal; its name becomes lower case.
func appendField(b, name, value []byte) []byte {
	var lower [32]byte
	if len(name) <= len(lower) {
		for i, c := range name {
			lower[i] = toLower(c)
		}
		if place := names[string(lower[:len(name)])]; place > 0 {
			return appendLiteral(b, int(place), value)
		}
	}
	b = appendInt(append(b, 0), 0, 7, len(name))
	for _, c := range name {
		b = append(b, toLower(c))
	}
	return appendText(b, value)
}

func toLower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}

var (
	errHpack = errors.New("bad header compression")
	errLong  = errors.New("header fields are longer than the limit")
)

// decoder reads a header block. text holds what was Huffman-coded.
type decoder struct {
	text bounded
	seen bool // a field has come: no change of the table's size any more
}

// bounded is memory that Huffman's decoder writes to.
type bounded struct {
	b    []byte
	most int
}

func (t *bounded) Write(p []byte) (int, error) {
	if len(t.b)+len(p) > t.most {
		return 0, errLong
	}
	t.b = append(t.b, p...)
	return len(p), nil
}

// decode gives the fields of a block to field, whose arguments it may not keep.
func (d *decoder) decode(block []byte, most int, field func(name, value []byte) error) error {
	d.text.b, d.text.most, d.seen = d.text.b[:0], most, false
	for len(block) > 0 {
		name, value, rest, err := d.next(block)
		if err != nil {
			return err
		}
		block = rest
		if name != nil {
			if err := field(name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// staticBytes is the static table for decode, whose fields are bytes.
var staticBytes = func() (t [len(static)][2][]byte) {
	for i, e := range static {
		t[i] = [2][]byte{[]byte(e.name), []byte(e.value)}
	}
	return t
}()

// next reads one field; a nil name is a change of the table's size.
func (d *decoder) next(b []byte) (name, value, rest []byte, err error) {
	first, bits := b[0], uint(4)
	switch {
	case first&0x80 != 0:
		bits = 7
	case first&0x40 != 0:
		bits = 6
	case first&0x20 != 0:
		bits = 5
	}
	place, b, err := readInt(b, bits)
	if err != nil {
		return nil, nil, nil, err
	}
	if bits == 5 {
		if d.seen || place != 0 {
			return nil, nil, nil, errHpack // the table we allow has a size of 0
		}
		return nil, nil, b, nil
	}
	d.seen = true
	if place > len(static) || bits == 7 && place == 0 {
		return nil, nil, nil, errHpack
	}
	if place > 0 {
		name, value = staticBytes[place-1][0], staticBytes[place-1][1]
	} else if name, b, err = d.readText(b); err != nil {
		return nil, nil, nil, err
	}
	if bits != 7 {
		value, b, err = d.readText(b)
	}
	if name == nil {
		name = []byte{}
	}
	return name, value, b, err
}

func readInt(b []byte, bits uint) (n int, rest []byte, err error) {
	most := 1<<bits - 1
	n = int(b[0]) & most
	b = b[1:]
	if n < most {
		return n, b, nil
	}
	for shift := uint(0); shift < 28 && len(b) > 0; shift += 7 {
		c := b[0]
		b = b[1:]
		n += int(c&127) << shift
		if c < 128 {
			return n, b, nil
		}
	}
	return 0, nil, errHpack
}

func (d *decoder) readText(b []byte) (text, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, errHpack
	}
	coded := b[0]&0x80 != 0
	n, b, err := readInt(b, 7)
	if err != nil || n > len(b) {
		return nil, nil, errHpack
	}
	text, rest = b[:n:n], b[n:]
	if !coded {
		return text, rest, nil
	}
	from := len(d.text.b)
	if _, err := hpack.HuffmanDecode(&d.text, text); err != nil {
		if errors.Is(err, errLong) {
			return nil, nil, errLong
		}
		return nil, nil, errHpack
	}
	return d.text.b[from:len(d.text.b):len(d.text.b)], rest, nil
}
