package h2

import (
	"encoding/binary"
	"slices"
)

// Limits bound what a peer can make a Conn hold.
type Limits struct {
	// HeaderBytes bounds the fields of a response.
	HeaderBytes int
	// Streams bounds those at a time, whatever more the peer allows.
	Streams int
}

const (
	// Window is how much of a response's body is taken before it is read.
	Window = 64 << 10
	// connWindow is how much may come between two grants for the connection,
	// which do not wait for readers: streams' windows bound the memory.
	connWindow = 1 << 20
	// mostOut is how much body waits for the socket before senders do.
	mostOut = 128 << 10
	// mostControl bounds out for a peer that asks and does not read.
	mostControl = 1 << 20
	// firstStreams is how many are begun before the peer says how many it takes.
	firstStreams = 100
	// mostIdle is how many frames without any effect may come in a row.
	mostIdle = 1000
)

// Conn is the client's side of one connection.
type Conn struct {
	out    *[]byte
	limits Limits
	// touched is told of a stream that has something new: bytes, an end, or room.
	touched func(*Stream)

	streams table
	open    int // those that Open gave
	free    []*Stream
	next    uint32 // id of the next stream
	greeted bool   // the peer's SETTINGS have come
	leaving bool   // the peer takes no more streams

	// The peer's settings.
	most        uint32 // streams at a time
	initial     int64  // a stream's first window
	frameSize   int
	headerList  uint32 // 0: no limit
	window      int64  // the connection's, for what is sent
	granted     int64  // what the peer may still send
	waiting     []*Stream
	holds       bool
	held        int       // streams whose head is held
	heads       []*Stream // these, and some that were
	idle        int       // frames without effect in a row
	dec         decoder
	block       []byte // header block that CONTINUATION goes on with
	blockOf     uint32 // its stream; 0: none
	blockEnds   bool   // it ends the stream
	blockFrames int
	scratch     []byte // a header block that is sent
	lines       knownLines
}

// New begins a connection: the preface and settings are appended to out, as is
// all that follows. touched is called from within Feed and Flushed.
func New(out *[]byte, limits Limits, touched func(*Stream)) *Conn {
	c := &Conn{
		out: out, limits: limits, touched: touched, next: 1,
		most: firstStreams, initial: startWindow, frameSize: frameMost, window: startWindow, granted: connWindow,
	}
	b := append(*out, preface...)
	b = appendFrameHead(b, 4*6, frameSettings, 0, 0)
	b = appendSetting(b, settingTableSize, 0)
	b = appendSetting(b, settingPush, 0)
	b = appendSetting(b, settingWindow, Window)
	b = appendSetting(b, settingHeaderListMax, uint32(limits.HeaderBytes))
	*out = appendNumber(b, frameWindow, 0, connWindow-startWindow)
	return c
}

// Room is how many more streams may begin.
func (c *Conn) Room() int {
	if c.leaving || c.next > mostWindow-2 {
		return 0
	}
	return min(int(min(c.most, 1<<20)), c.limits.Streams) - c.open
}

// Leaving says that no stream may begin any more.
func (c *Conn) Leaving() bool { return c.leaving || c.next > mostWindow-2 }

// Feed takes whole frames from in and says how many bytes they were. An error
// is the connection's end.
func (c *Conn) Feed(in []byte) (used int, err error) {
	var f frame
	for {
		n, err := f.parse(in[used:])
		if err != nil || n == 0 {
			return used, err
		}
		used += n
		if err := c.take(&f); err != nil {
			return used, err
		}
		if len(*c.out) > mostControl+mostOut {
			return used, broken(EnhanceYourCalm, "asks for more than it reads")
		}
	}
}

// Last appends the frame that tells the peer why the connection ends.
func (c *Conn) Last(err error) {
	code := NoError
	if e, ok := err.(*Error); ok && e.Why != "" {
		code = e.Code
	}
	*c.out = binary.BigEndian.AppendUint64(appendFrameHead(*c.out, 8, frameGoAway, 0, 0), uint64(code))
}

func (c *Conn) take(f *frame) error {
	if c.blockOf != 0 && (f.kind != frameContinuation || f.stream != c.blockOf) {
		return broken(ProtocolError, "header fields are not continued")
	}
	if !c.greeted && f.kind != frameSettings {
		return broken(ProtocolError, "first frame is no SETTINGS")
	}
	switch f.kind {
	case frameData:
		return c.data(f)
	case frameHeaders, frameContinuation:
		return c.headers(f)
	case frameReset:
		return c.reset(f)
	case frameSettings:
		return c.settings(f)
	case framePing:
		return c.ping(f)
	case frameGoAway:
		return c.goAway(f)
	case frameWindow:
		return c.grant(f)
	case framePush:
		return broken(ProtocolError, "pushes, which it was told not to")
	}
	return c.idled() // PRIORITY and unknown ones
}

// idled counts frames that do nothing.
func (c *Conn) idled() error {
	if c.idle++; c.idle > mostIdle {
		return broken(EnhanceYourCalm, "frames without effect, one after the other")
	}
	return nil
}

// find gives the stream of a frame; nil: it has ended here, and the frame was on
// its way. ours false: there never was such a stream.
func (c *Conn) find(id uint32) (s *Stream, ours bool) {
	return c.streams.get(id), id%2 == 1 && id < c.next
}

func (c *Conn) data(f *frame) error {
	s, ours := c.find(f.stream)
	if !ours {
		return broken(ProtocolError, "DATA of a stream that never began")
	}
	size := int64(len(f.payload))
	if c.granted -= size; c.granted < 0 {
		return broken(FlowControl, "more DATA than the connection's window")
	}
	if c.granted < connWindow/2 {
		*c.out = appendNumber(*c.out, frameWindow, 0, uint32(connWindow-c.granted))
		c.granted = connWindow
	}
	p, err := f.unpad()
	if err != nil {
		return err
	}
	if len(p) == 0 && !f.has(flagEnd) {
		if err := c.idled(); err != nil {
			return err
		}
	} else {
		c.idle = 0
	}
	if s == nil {
		return nil
	}
	if s.granted -= size; s.granted < 0 {
		return broken(FlowControl, "more DATA than the stream's window")
	}
	s.takeData(p, f.has(flagEnd))
	if len(p) < len(f.payload) {
		s.grant() // padding never gets to a reader
	}
	return nil
}

func (c *Conn) headers(f *frame) error {
	p := f.payload
	if f.kind == frameHeaders {
		if _, ours := c.find(f.stream); !ours {
			return broken(ProtocolError, "HEADERS of a stream that never began")
		}
		var err error
		if p, err = f.unpad(); err != nil {
			return err
		}
		if f.has(flagEndHeaders) {
			c.idle = 0
			return c.gotBlock(f.stream, p, f.has(flagEnd))
		}
		c.block, c.blockOf, c.blockEnds, c.blockFrames = append(c.block[:0], p...), f.stream, f.has(flagEnd), 0
		return nil
	}
	if c.blockOf == 0 {
		return broken(ProtocolError, "CONTINUATION of nothing")
	}
	if c.blockFrames++; len(c.block)+len(p) > 2*c.limits.HeaderBytes || c.blockFrames > 32 {
		return broken(EnhanceYourCalm, "header fields without end")
	}
	c.block = append(c.block, p...)
	if !f.has(flagEndHeaders) {
		return nil
	}
	id := c.blockOf
	c.blockOf = 0
	return c.gotBlock(id, c.block, c.blockEnds)
}

func (c *Conn) gotBlock(id uint32, block []byte, end bool) error {
	s, _ := c.find(id)
	if s == nil {
		return nil // fields of one stream do not depend on others'
	}
	return s.takeHeaders(block, end)
}

func (c *Conn) reset(f *frame) error {
	s, ours := c.find(f.stream)
	if !ours || len(f.payload) != 4 {
		return broken(ProtocolError, "RST_STREAM of nothing")
	}
	if s == nil {
		return c.idled()
	}
	code := Code(binary.BigEndian.Uint32(f.payload))
	s.closed = true
	if s.ended && code == NoError {
		s.err = errEnough
	} else {
		s.fail(&Error{Code: code, Unserved: code == RefusedStream && !s.answered})
	}
	c.touch(s)
	return nil
}

func (c *Conn) settings(f *frame) error {
	p := f.payload
	if f.stream != 0 || len(p)%6 != 0 {
		return broken(FrameSize, "SETTINGS of a strange size")
	}
	c.greeted = true
	if f.has(flagAck) {
		return c.idled()
	}
	if err := c.idled(); err != nil {
		return err
	}
	for ; len(p) > 0; p = p[6:] {
		if err := c.setting(binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])); err != nil {
			return err
		}
	}
	*c.out = appendFrameHead(*c.out, 0, frameSettings, flagAck, 0)
	return nil
}

func (c *Conn) setting(id uint16, value uint32) error {
	switch id {
	case settingStreams:
		c.most = value
	case settingWindow:
		if value > mostWindow {
			return broken(FlowControl, "a window that is too large")
		}
		more := int64(value) - c.initial
		c.initial = int64(value)
		for s := range c.streams.all {
			if s.window += more; s.window > mostWindow {
				return broken(FlowControl, "a window that is too large")
			}
			if more > 0 {
				s.room()
			}
		}
	case settingFrameSize:
		if value < frameMost || value > 1<<24-1 {
			return broken(ProtocolError, "a frame size that is out of bounds")
		}
	case settingHeaderListMax:
		c.headerList = max(value, 1)
	}
	return nil
}

func (c *Conn) ping(f *frame) error {
	if f.stream != 0 || len(f.payload) != 8 {
		return broken(FrameSize, "PING of a strange size")
	}
	if !f.has(flagAck) {
		*c.out = append(appendFrameHead(*c.out, 8, framePing, flagAck, 0), f.payload...)
	}
	return c.idled()
}

func (c *Conn) goAway(f *frame) error {
	if f.stream != 0 || len(f.payload) < 8 {
		return broken(FrameSize, "GOAWAY of a strange size")
	}
	c.leaving = true
	last := binary.BigEndian.Uint32(f.payload) & mostWindow
	code := Code(binary.BigEndian.Uint32(f.payload[4:]))
	for s := range c.streams.all {
		if s.id > last && s.err == nil {
			s.closed = true
			s.fail(&Error{Code: code, Unserved: !s.answered})
			c.touch(s)
		}
	}
	return c.idled()
}

// grant takes a WINDOW_UPDATE.
func (c *Conn) grant(f *frame) error {
	if len(f.payload) != 4 {
		return broken(FrameSize, "WINDOW_UPDATE of a strange size")
	}
	more := int64(binary.BigEndian.Uint32(f.payload) & mostWindow)
	if f.stream == 0 {
		c.window += more
		if more == 0 || c.window > mostWindow {
			return broken(FlowControl, "a window that is too large, or did not grow")
		}
		c.release()
		return nil
	}
	s, ours := c.find(f.stream)
	if !ours {
		return broken(ProtocolError, "WINDOW_UPDATE of a stream that never began")
	}
	if s == nil || s.closed {
		return c.idled()
	}
	s.window += more
	if more == 0 || s.window > mostWindow {
		s.abort(FlowControl, "a window that is too large, or did not grow")
		return nil
	}
	s.room()
	return nil
}

// Flushed says that what had been appended to out has left.
func (c *Conn) Flushed() {
	if len(c.waiting) > 0 {
		c.release()
	}
}

// release lets those that wait for the connection's room try again.
func (c *Conn) release() {
	all := c.waiting
	c.waiting = c.waiting[:0]
	for _, s := range all {
		s.waits = false
		c.touch(s)
	}
	clear(all[len(c.waiting):])
}

// wait has s tried again when the connection has room.
func (c *Conn) wait(s *Stream) {
	if !s.waits {
		s.waits = true
		c.waiting = append(c.waiting, s)
	}
}

func (c *Conn) unwait(s *Stream) {
	if i := slices.Index(c.waiting, s); s.waits && i >= 0 {
		c.waiting = slices.Delete(c.waiting, i, i+1)
		s.waits = false
	}
}

// Fail ends all streams with the connection.
func (c *Conn) Fail(err error) {
	c.leaving = true
	for s := range c.streams.all {
		s.closed = true
		s.fail(err)
		c.touch(s)
	}
}
