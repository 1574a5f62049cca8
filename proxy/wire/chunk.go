package wire

// maxExtBytes bounds all chunk extensions of one body together (RFC 9112
// §7.1.1 asks for a bound): nobody reads them, so they are pure load.
const maxExtBytes = 16 << 10

// Chunks decodes one chunked body (RFC 9112 §7.1) as its bytes arrive, however
// they are cut. Line ends are CRLF only, sizes are checked for overflow, and
// the extensions' grammar is checked though their content is dropped.
//
//	          +--------------------------- CRLF after the data ----------+
//	          v                                                          |
//	[first digit] -> [size] --CRLF, n>0--> [data: n bytes] -> [data CR] -> [data LF]
//	                   |  \
//	                   |   ';' or blank -> [extension states] --CR--> [line LF]
//	                   |
//	                   +--CRLF, n==0--> [trailer lines] --empty line--> done
//
// The zero Chunks is ready. It holds no reference to the buffers it was given.
type Chunks struct {
	// Offset is, after an error, how many bytes of the body were good.
	Offset int64
	// ExtBytes is how many bytes of chunk extensions came so far.
	ExtBytes int

	left     uint64 // of the size being read, then of the data being passed
	digits   uint8
	state    chunkState
	trailers trailerSection
}

type chunkState uint8

const (
	chunkFirst      chunkState = iota // a chunk size's first digit
	chunkSize                         // its further digits
	chunkExtBefore                    // blanks before ';'
	chunkExtName0                     // blanks or the first byte of a name
	chunkExtName                      // the rest of a name
	chunkExtAfter                     // blanks after a name: '=', ';' must follow
	chunkExtValue0                    // blanks, a quote or a token's first byte
	chunkExtValue                     // the rest of a token
	chunkExtQuoted                    // inside quotes
	chunkExtEscaped                   // behind a backslash inside quotes
	chunkExtClosed                    // behind the closing quote
	chunkLineLF                       // the LF that ends the size line
	chunkData                         // data
	chunkDataCR                       // the CR behind data
	chunkDataLF                       // its LF
	chunkTrailers                     // trailer section
	chunkDone
)

// Reset makes c ready for another body. The memory for trailers is kept.
func (c *Chunks) Reset() {
	t := c.trailers
	*c = Chunks{trailers: trailerSection{text: t.text[:0], head: Head{Fields: t.head.Fields[:0]}}}
}

// Done reports whether the body's last byte has been consumed.
func (c *Chunks) Done() bool { return c.state == chunkDone }

// Next consumes framing at the start of buf and, behind it, at most one run of
// payload. data is that run, a piece of buf, and consumed is how many bytes of
// buf it and the framing before it were. The caller drops them and calls again
// until Done, or until consumed == 0: then more bytes are needed.
//
// All bytes of framing are consumed as they come, so nothing but payload ever
// needs to be kept by the caller. Bytes behind the end of the body are not
// consumed. err is an *Error of this package; consumed counts what was good.
func (c *Chunks) Next(buf []byte) (data []byte, consumed int, err error) {
	i := 0
	for i < len(buf) {
		switch c.state {
		case chunkData:
			n := int(min(c.left, uint64(len(buf)-i)))
			if c.left -= uint64(n); c.left == 0 {
				c.state = chunkDataCR
			}
			c.Offset += int64(i + n)
			return buf[i : i+n : i+n], i + n, nil
		case chunkTrailers:
			n, e := c.trailers.add(buf[i:])
			if i += n; e != nil {
				c.Offset += int64(i)
				return nil, i, e
			}
			if c.trailers.complete {
				c.state = chunkDone
			}
		case chunkDone:
			c.Offset += int64(i)
			return nil, i, nil
		default:
			if e := c.step(buf[i]); e != nil {
				c.Offset += int64(i)
				return nil, i, e
			}
			i++
		}
	}
	c.Offset += int64(i)
	return nil, i, nil
}

// step takes one byte of a size line or of the CRLF behind data.
func (c *Chunks) step(b byte) *Error {
	switch c.state {
	case chunkFirst, chunkSize:
		return c.size(b)
	case chunkLineLF:
		if b != '\n' {
			return ErrBareCR
		}
		c.digits = 0
		if c.state = chunkData; c.left == 0 {
			c.state = chunkTrailers
		}
		return nil
	case chunkDataCR:
		if b != '\r' {
			return ErrChunkEnd
		}
		c.state = chunkDataLF
		return nil
	case chunkDataLF:
		if b != '\n' {
			return ErrChunkEnd
		}
		c.state = chunkFirst
		return nil
	}
	return c.ext(b)
}

// size takes a byte of 1*HEXDIG, or the first one behind it. 16 digits are
// enough for any size; more would only be leading zeros.
func (c *Chunks) size(b byte) *Error {
	if class[b]&classHex != 0 {
		if c.digits++; c.digits > 16 {
			return ErrChunkSize
		}
		d := uint64(b & 15)
		if b > '9' {
			d += 9
		}
		if c.left = c.left<<4 | d; c.left > 1<<63-1 {
			return ErrChunkSize
		}
		c.state = chunkSize
		return nil
	}
	switch {
	case b == '\n':
		return ErrBareLF
	case c.state == chunkFirst:
		return ErrChunkSize
	case b == '\r':
		c.state = chunkLineLF
		return nil
	case b == ';' || b == ' ' || b == '\t':
		c.state = chunkExtBefore
		return c.ext(b)
	}
	return ErrChunkSize
}

// ext takes a byte of *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS
// chunk-ext-val ] ), or the CR behind it.
func (c *Chunks) ext(b byte) *Error {
	if b == '\n' {
		return ErrBareLF
	}
	if b == '\r' {
		return c.extEnd()
	}
	if c.ExtBytes++; c.ExtBytes > maxExtBytes {
		return ErrChunkExtBytes
	}
	next, ok := extNext(c.state, b)
	if !ok {
		return ErrChunkExt
	}
	c.state = next
	return nil
}

// extEnd takes the CR of a size line with extensions: only where an extension
// is whole. Blanks at the end of the line belong to none.
func (c *Chunks) extEnd() *Error {
	switch c.state {
	case chunkExtName, chunkExtValue, chunkExtClosed:
		c.state = chunkLineLF
		return nil
	}
	return ErrChunkExt
}

// extNext is the grammar of extensions as a step from state to state.
func extNext(s chunkState, b byte) (next chunkState, ok bool) {
	blank := b == ' ' || b == '\t'
	token := class[b]&classToken != 0
	switch s {
	case chunkExtBefore:
		if blank {
			return s, true
		}
		return chunkExtName0, b == ';'
	case chunkExtName0, chunkExtName:
		if token {
			return chunkExtName, true
		}
		if s == chunkExtName0 {
			return s, blank
		}
		return extAfterName(b, blank)
	case chunkExtAfter:
		return extAfterName(b, blank)
	case chunkExtValue0:
		switch {
		case blank:
			return s, true
		case b == '"':
			return chunkExtQuoted, true
		}
		return chunkExtValue, token
	case chunkExtValue, chunkExtClosed:
		if s == chunkExtValue && token {
			return s, true
		}
		if blank {
			return chunkExtBefore, true
		}
		return chunkExtName0, b == ';'
	case chunkExtQuoted:
		switch b {
		case '"':
			return chunkExtClosed, true
		case '\\':
			return chunkExtEscaped, true
		}
		return s, class[b]&classQuoted != 0
	case chunkExtEscaped:
		return chunkExtQuoted, class[b]&classValue != 0
	}
	return s, false
}

// extAfterName is what may follow a name: '=', another extension, blanks.
func extAfterName(b byte, blank bool) (next chunkState, ok bool) {
	switch {
	case blank:
		return chunkExtAfter, true
	case b == '=':
		return chunkExtValue0, true
	}
	return chunkExtName0, b == ';'
}
