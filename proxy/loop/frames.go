package loop

// frames follows the framing of TLS records (RFC 8446 §5.1) as they come. With
// it a read that has given all of the only record that has come needs no second
// one, which would give nothing: most requests are one record.
type frames struct {
	head  [recordHead]byte
	have  int // bytes of head
	left  int // bytes of the record behind it that have not come
	whole int // records that have come since there were none to be read
}

// recordHead is the length of a record's head, which ends with the length of
// what follows.
const recordHead = 5

// follow takes what has been read next.
func (f *frames) follow(p []byte) {
	for len(p) > 0 {
		if f.left == 0 {
			n := copy(f.head[f.have:], p)
			f.have += n
			p = p[n:]
			if f.have < recordHead {
				return
			}
			f.have, f.left = 0, int(f.head[3])<<8|int(f.head[4])
		} else {
			n := min(f.left, len(p))
			f.left -= n
			p = p[n:]
		}
		if f.left == 0 {
			f.whole++
		}
	}
}

// spent tells that one record has come and no part of another, and starts anew
// if so: its payload has been read.
func (f *frames) spent() bool {
	if f.whole != 1 || f.left != 0 || f.have != 0 {
		return false
	}
	f.whole = 0
	return true
}
