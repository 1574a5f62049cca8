package compress

import (
	"sync"

	"github.com/klauspost/compress/gzip"
)

// coder compresses one answer. It is taken for it and given back when the
// answer is over.
type coder struct {
	level int
	gz    *gzip.Writer
	out   []byte
	dirty bool // something was written since the last flush
	ended bool
}

// coders are those not in use, by level.
var coders [gzip.BestCompression + 1]sync.Pool

func newCoder(level int) *coder {
	c, ok := coders[level].Get().(*coder)
	if !ok {
		c = &coder{level: level}
		gz, err := gzip.NewWriterLevel(c, level)
		if err != nil {
			panic("BUG: " + err.Error()) // the level was checked
		}
		c.gz = gz
		return c
	}
	c.gz.Reset(c)
	return c
}

// Write takes what comes out of the compressor.
func (c *coder) Write(p []byte) (int, error) {
	c.out = append(c.out, p...)
	return len(p), nil
}

// follow says what comes behind a piece of an answer.
type follow uint8

const (
	more  follow = iota
	pause        // nothing for a while: the client must get all of it now
	end
)

// code compresses a piece and returns what has come of it so far, valid until
// the next call.
func (c *coder) code(piece []byte, behind follow) []byte {
	c.out = c.out[:0]
	if c.ended {
		return nil
	}
	if len(piece) > 0 {
		c.gz.Write(piece)
		c.dirty = true
	}
	switch {
	case behind == end:
		c.gz.Close()
		c.ended = true
	case behind == pause && c.dirty:
		c.gz.Flush()
		c.dirty = false
	}
	return c.out
}

// keepOut is the largest buffer that a coder not in use holds on to.
const keepOut = 64 << 10

// Release implements exchange.Coding.
func (c *coder) Release() {
	if cap(c.out) > keepOut {
		c.out = nil
	}
	c.out, c.dirty, c.ended = c.out[:0], false, false
	coders[c.level].Put(c)
}
