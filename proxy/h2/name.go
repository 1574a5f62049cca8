package h2

import "encoding/binary"

// nameKind is what the name of a request's field means here.
type nameKind uint8

const (
	namePlain  nameKind = iota
	nameOdd             // is none, or is not looked at yet
	nameHost            // becomes :authority
	nameOwn             // the connection's own (RFC 9113 §8.2.2)
	nameTE              // may say "trailers", and nothing else
	nameLength          // of the body
	nameCoding          // Transfer-Encoding, which frames it
	nameSecret          // shows who asks
)

// A codedName is the name of a field that is sent in another way than as it is.
type codedName struct {
	whole, rest uint64 // as nameWords gives them
	text        string
	place       byte // in the static table; 0: none
	kind        nameKind
}

// is tells whether n has these words and this length. Of names of 16 bytes and more
// that is not all.
func (n *codedName) is(whole, rest uint64, length int) bool {
	return n.whole == whole && n.rest == rest && len(n.text) == length
}

// put writes the name to d[o:] as a field begins. It answers where that ends.
func (n *codedName) put(d []byte, o int) (end int) {
	switch {
	case n.place == 0:
		d[o], d[o+1] = 0, byte(len(n.text))
		return o + 2 + len(n.text)
	case n.place < 15:
		d[o] = n.place
		return o + 1
	}
	d[o], d[o+1] = 15, n.place-15
	return o + 2
}

// kinds are the names that are more than text.
var kinds = map[string]nameKind{
	"host": nameHost, "connection": nameOwn, "keep-alive": nameOwn, "proxy-connection": nameOwn,
	"upgrade": nameOwn, "http2-settings": nameOwn, "te": nameTE, "content-length": nameLength,
	"transfer-encoding": nameCoding, "authorization": nameSecret, "proxy-authorization": nameSecret,
	"cookie": nameSecret,
}

// codedNames has each codedName at its nameHash. The multiplier was searched so
// that no two share a place; who adds one and meets the panic searches another.
var codedNames = func() (names [256]codedName) {
	places := map[string]byte{}
	for i := len(static) - 1; i >= 0; i-- {
		if static[i].name[0] != ':' {
			places[static[i].name] = byte(i + 1)
		}
	}
	for name := range kinds {
		places[name] += 0
	}
	places["host"] = authority
	for name, place := range places {
		whole, rest := nameWords(name)
		at := &names[nameHash(whole, rest, len(name))]
		if at.text != "" {
			panic("BUG: h2: field names " + name + " and " + at.text + " need another nameHash multiplier")
		}
		*at = codedName{whole, rest, name, place, kinds[name]}
	}
	return names
}()

// authority is the place of :authority in the static table.
const authority = 1

func nameHash(whole, rest uint64, n int) uint8 {
	return uint8((whole ^ rest<<1 ^ uint64(n)) * 0xaead0f8064514f43 >> 56)
}

// nameWords gives the last whole word of eight bytes of a name, and the rest behind
// it filled up with zeros.
func nameWords(name string) (whole, rest uint64) {
	for ; len(name) >= 8; name = name[8:] {
		whole = binary.LittleEndian.Uint64([]byte(name))
	}
	for i := range len(name) {
		rest |= uint64(name[i]) << (8 * i)
	}
	return whole, rest
}

// kindOf is the kind of a name in any case.
func kindOf(name []byte) nameKind {
	for known, kind := range kinds {
		if same(name, known) {
			return kind
		}
	}
	return namePlain
}
