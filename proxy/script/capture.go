package script

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"

	"perigee/luavm"
	"perigee/proxy/exchange"
	"perigee/proxy/wire"
)

// Subrequest is an exchange that a script wants made (ngx.location.capture). Its
// bytes are the op's.
type Subrequest struct {
	Method      string // as it is sent; what is no token: not a method
	Path, Query []byte
	Share, Copy bool   // variables are the parent's; a copy of them
	Forward     bool   // the parent's body, whatever the method
	Context     uint32 // for luavm.Slot.HandContext
	Body        []byte
	HasBody     bool
	Vars        []Pair
	Headers     []Pair
}

// Pair is a name and a value.
type Pair struct{ Name, Value []byte }

// Capture is all that one call asks for.
type Capture struct {
	Subrequests []Subrequest
	// Fields are those of the parent's head, as its scripts see them.
	Fields []Pair
}

var errCapture = errors.New("malformed list of subrequests")

// text is a list of strings as capture.lua writes it: length, colon, bytes.
type textList struct {
	rest []byte
	err  error
}

func (l *textList) next() []byte {
	at := bytes.IndexByte(l.rest, ':')
	if at <= 0 || at > 10 {
		return l.fail()
	}
	n := uint64(0)
	for _, c := range l.rest[:at] {
		if c < '0' || c > '9' {
			return l.fail()
		}
		n = n*10 + uint64(c-'0')
	}
	rest := l.rest[at+1:]
	if n > uint64(len(rest)) {
		return l.fail()
	}
	l.rest = rest[n:]
	return rest[:n:n]
}

func (l *textList) fail() []byte {
	l.rest, l.err = nil, errCapture
	return nil
}

func (l *textList) number() uint32 {
	n, err := strconv.ParseUint(string(l.next()), 10, 32)
	if err != nil {
		l.fail()
	}
	return uint32(n)
}

func (l *textList) pairs() (list []Pair) {
	for n := l.number(); n > 0 && l.err == nil; n-- {
		list = append(list, Pair{l.next(), l.next()})
	}
	return list
}

// ParseCapture reads what capture.lua has written for an OpCapture: text are its
// subrequests, fields the parent's.
func ParseCapture(text, fields []byte) (c Capture, err error) {
	const share, copied, forward = 1, 2, 4
	for l := (textList{rest: fields}); len(l.rest) > 0; {
		c.Fields = append(c.Fields, Pair{l.next(), l.next()})
		err = l.err
	}
	for l := (textList{rest: text}); len(l.rest) > 0; {
		s := Subrequest{Method: string(l.next()), Path: l.next(), Query: l.next()}
		flags := l.number()
		s.Share, s.Copy, s.Forward = flags&share != 0, flags&copied != 0, flags&forward != 0
		s.Context = l.number()
		s.Body, s.HasBody = bytes.CutPrefix(l.next(), []byte("="))
		more := textList{rest: l.next()}
		s.Vars, s.Headers = more.pairs(), more.pairs()
		if l.err != nil || more.err != nil || len(more.rest) > 0 {
			return c, errCapture
		}
		c.Subrequests = append(c.Subrequests, s)
	}
	return c, err
}

// RefuseCapture ends an OpCapture before any subrequest was made: the script's
// call raises message.
func RefuseCapture(op *luavm.Op, message string) {
	op.Result = luavm.ResultAborted
	op.Reply = append(op.Reply[:0], message...)
}

// captured gives the script what came of the subrequests of op, and gives them
// back. A status other than 0: one of them ends the exchange without an answer.
func captured(ex *exchange.Exchange, op *luavm.Op) (fatal int) {
	for _, child := range ex.TakeChildren(op) {
		if child.Fatal != 0 && fatal == 0 {
			fatal = child.Fatal
		}
		op.Reply = appendCaptured(op.Reply, child)
		if child.SharesVars {
			for _, v := range child.Vars {
				ex.SetVariable([]byte(v.Name), []byte(v.Value))
				_ = ex.Lua.SetExtra(v.Name, []byte(v.Value)) // no memory: the old value stays
			}
		}
		if !child.Pending() { // else it has failed in a way that cannot be mended
			exchange.Release(child)
		}
	}
	return fatal
}

// appendCaptured writes a subrequest's answer as capture.lua reads it.
func appendCaptured(dst []byte, child *exchange.Exchange) []byte {
	down := child.Down.(*exchange.Captured)
	word := func(n int) { dst = binary.NativeEndian.AppendUint32(dst, uint32(n)) }
	truncated := 0
	if !down.Whole || child.Place.Stock {
		truncated = 1 // as in nginx, which makes no page for a subrequest's error
	}
	word(child.Record.Status)
	word(truncated)
	word(len(down.Body))
	fields := 0
	for range child.Resp.All() {
		fields++
	}
	word(fields)
	number := child.Place.Source != exchange.FromUpstream && !child.Scripted
	for name, value := range child.Resp.All() {
		n := len(value)
		if number && wire.LookupField(name) == wire.FieldContentLength {
			n |= 1 << 31
		}
		word(len(name))
		word(n)
	}
	dst = append(dst, down.Body...)
	for name, value := range child.Resp.All() {
		dst = append(append(dst, name...), value...)
	}
	for len(dst)%4 != 0 {
		dst = append(dst, 0)
	}
	return dst
}
