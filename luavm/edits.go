package luavm

import "unsafe"

// Flags are what an exchange is in and what its scripts did. PG_F_* in
// perigee_ffi.h.
type Flags uint32

// Flags that the host sets before a run.
const (
	FlagHeadersSent Flags = 1 << 0  // the answer's head has left
	FlagBodyRead    Flags = 1 << 1  // the request's body is in Input.Body
	FlagInternal    Flags = 1 << 4  // ngx.req.is_internal
	FlagSubrequest  Flags = 1 << 5  // ngx.is_subrequest
	FlagTLS         Flags = 1 << 6  // $https
	FlagLocal       Flags = 1 << 7  // content is made here, not by an upstream
	FlagUnderscores Flags = 1 << 8  // names in ngx.header keep their underscores
	FlagUnbuffered  Flags = 1 << 9  // answers to HTTP/1.0 are not gathered
	FlagWaits       Flags = 1 << 10 // scripts may wait where OpenResty forbids it
	FlagCheckAbort  Flags = 1 << 11 // a client that leaves ends the handler
	FlagOnAbort     Flags = 1 << 12 // the handler has called ngx.on_abort
	FlagValue       Flags = 1 << 13 // the access handler's value is asked for: ngx.arg[0]
)

// Flags that scripts set.
const (
	FlagEOF        Flags = 1 << 2  // ngx.eof was called
	FlagStatusSet  Flags = 1 << 3  // ngx.status or ngx.redirect wrote Status
	FlagCommitted  Flags = 1 << 16 // it sent something: the head is decided
	FlagBodySeen   Flags = 1 << 17 // it printed at least one byte
	FlagHeaderOnly Flags = 1 << 18 // committed answer to HEAD
	FlagBuffering  Flags = 1 << 19 // HTTP/1.0: send all at once, with a length
	FlagDiscarded  Flags = 1 << 20 // ngx.req.discard_body was called

	FlagUnconditional Flags = 1 << 23 // ngx.resp.bypass_if_checks was called
	FlagRaw           Flags = 1 << 26 // ngx.req.socket(true): it writes to the connection itself
	FlagBodyTemp      Flags = 1 << 24 // the body's file goes when it is replaced
)

// Flags is what is set now.
func (s *Slot) Flags() Flags { return Flags(s.c.Flags) }

// SetFlags adds flags.
func (s *Slot) SetFlags(f Flags) { s.c.Flags |= uint32(f) }

// ClearFlags takes flags away.
func (s *Slot) ClearFlags(f Flags) { s.c.Flags &^= uint32(f) }

// Status is ngx.status; 0 when nobody has set it.
func (s *Slot) Status() int { return int(s.c.Status) }

// SetStatus makes ngx.status say what the answer's head says.
func (s *Slot) SetStatus(status int) { s.c.Status = int32(status) }

// An EditKind says what an Edit does. PG_EDIT_*.
type EditKind uint32

// Kinds of edit. Set replaces all fields of the name, Add appends one, Clear
// removes all.
const (
	EditRequestSet    EditKind = 1
	EditRequestAdd    EditKind = 2
	EditRequestClear  EditKind = 3
	EditResponseSet   EditKind = 4
	EditResponseAdd   EditKind = 5
	EditResponseClear EditKind = 6
	EditMethod        EditKind = 7  // Value: method
	EditURI           EditKind = 8  // Value: decoded path; Aux 1: match again now
	EditArgs          EditKind = 9  // Value: raw query
	EditBody          EditKind = 10 // Value: new request body; Aux: Body*
	EditVariable      EditKind = 11 // Name, Value; Aux 1: nil
	EditReason        EditKind = 12 // Value: text behind the status; empty: the usual one
	EditPeer          EditKind = 13 // Name: server name; Value: address; Aux: port
	EditPeerTries     EditKind = 14 // Aux: how many more
	EditPeerTimeouts  EditKind = 15 // Value: connect, send and read in seconds, apart by blanks
	EditPeerKeepalive EditKind = 16 // Value: idle seconds and requests, apart by a blank
	EditTLS           EditKind = 17 // Aux: an EditTLS of these
	EditExec          EditKind = 18 // Name: decoded path, or @ and a name; Value: raw query
	EditValue         EditKind = 19 // Value: what the handler returned; Aux 1: a table's fields, see lualib/ngx/body.lua
)

// What EditTLS wants of a handshake. PG_TLS_*.
const (
	TLSClear     uint32 = 0 // neither certificate nor key
	TLSCert      uint32 = 1 // Value: DER, the chain's certificates in a row
	TLSKey       uint32 = 2 // Value: DER
	TLSVerify    uint32 = 3 // Value: DER of authorities; the client must show a certificate of theirs
	TLSProtocols uint32 = 4 // Value: names of versions, apart by blanks
)

// What EditBody says. PG_BODY_*.
const (
	BodyText  = 0 // Value is the body
	BodyFile  = 1 // Value is the path of the file it is in, Name its size
	BodyTemp  = 2 // the same; the file is the exchange's and goes with it
	BodyBegun = 3 // Value is the path of a file that is the exchange's, too
)

// An Edit is one change that a script made. Name and Value are the slot's
// memory: valid until its next run. Names and values of fields have no bytes
// that could split a line.
type Edit struct {
	Kind        EditKind
	Aux         uint32
	Name, Value []byte
}

// editHead is pg_edit.
type editHead struct{ kind, aux, name, value uint32 }

// NextEdit takes the next edit that was not yet taken into e; false at the
// end. Edits stay in the log, as scripts' later reads replay them.
//
//	for e := (luavm.Edit{}); slot.NextEdit(&e); {
func (s *Slot) NextEdit(e *Edit) bool {
	return s.c.LogDone != s.c.LogLen && s.takeEdit(e)
}

func (s *Slot) takeEdit(e *Edit) bool {
	c := s.c
	const head = uint32(unsafe.Sizeof(editHead{}))
	end := c.LogLen
	if s.follows.went {
		end = s.follows.log
	}
	left := end - c.LogDone
	if left < head {
		return false
	}
	at := unsafe.Add(c.Log, c.LogDone)
	h := *(*editHead)(at)
	size := uint64(head) + uint64(h.name) + uint64(h.value)
	if size > uint64(left) {
		panic("BUG: edit longer than its log")
	}
	e.Kind, e.Aux = EditKind(h.kind), h.aux
	e.Name = unsafe.Slice((*byte)(unsafe.Add(at, head)), int(h.name))
	e.Value = unsafe.Slice((*byte)(unsafe.Add(at, head+h.name)), int(h.value))
	c.LogDone += uint32(min((size+7)&^7, uint64(left)))
	return true
}

// Output is what scripts printed since the last ClearOutput, or in body_filter
// what replaces the chunk. Valid until the next run.
func (s *Slot) Output() []byte {
	return s.c.Printed()
}

// ClearOutput says that Output was taken.
func (s *Slot) ClearOutput() { s.c.OutLen = 0 }

// BeginChunk prepares a body_filter run: last is ngx.arg[2]. The chunk itself
// is Input.Data. Output must be empty.
func (s *Slot) BeginChunk(last bool) {
	s.c.ChunkSet, s.c.ChunkLast = 0, 0
	if last {
		s.c.ChunkLast = 1
	}
}

// KeepChunk makes data, as BeginChunk's run was given it, last while a
// body_filter waits: what its op brings takes its place in Input. False: there
// is no memory for it.
func (s *Slot) KeepChunk(data []byte) bool {
	if s.c.ChunkSet == 0 && !s.c.Print(data) {
		return false
	}
	s.c.ChunkSet = 1
	return true
}

// HandContext makes the first ngx.ctx of the slot's scripts the table that Lua
// keeps under key, as OpCapture names it; 0: a new one.
func (s *Slot) HandContext(key uint32) { s.c.CtxKey = key }

// LeaveContext lets ngx.ctx begin anew, as ngx.exec does: the request goes
// elsewhere. Tables that libraries keep by their place stay to the slot's end.
func (s *Slot) LeaveContext() {
	c := s.c
	c.CtxKey = 0
	if c.CtxRef == 0 || int(c.CtxLeftN) == len(c.CtxLeft) {
		return
	}
	c.CtxLeft[c.CtxLeftN] = c.CtxRef
	c.CtxLeftN++
	c.CtxRef = 0
}

// EndChunk is what the body_filter left: the chunk to send (data itself when
// the script did not replace it), and whether it is the last. A replaced chunk
// is the slot's memory until a handler prints again.
func (s *Slot) EndChunk(data []byte) (chunk []byte, last bool) {
	if s.c.ChunkSet != 0 {
		data = s.Output()
		s.ClearOutput()
	}
	return data, s.c.ChunkLast != 0
}
