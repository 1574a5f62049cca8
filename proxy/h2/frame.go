package h2

import (
	"encoding/binary"
	"strconv"
)

// The types of frames.
const (
	frameData         = 0
	frameHeaders      = 1
	framePriority     = 2
	frameReset        = 3
	frameSettings     = 4
	framePush         = 5
	framePing         = 6
	frameGoAway       = 7
	frameWindow       = 8
	frameContinuation = 9
)

const (
	flagEnd        = 1 // DATA, HEADERS: the stream's last
	flagAck        = 1 // SETTINGS, PING
	flagEndHeaders = 4
	flagPadded     = 8
	flagPriority   = 32
)

// The settings that are looked at or sent.
const (
	settingTableSize     = 1
	settingPush          = 2
	settingStreams       = 3
	settingWindow        = 4
	settingFrameSize     = 5
	settingHeaderListMax = 6
)

const (
	headLen = 9
	// frameMost is the largest payload that is accepted, and sent unless the
	// peer allows less; it cannot.
	frameMost = 16 << 10
	preface   = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	// startWindow is every window before anybody says otherwise.
	startWindow = 65535
	mostWindow  = 1<<31 - 1
)

// Code is an error code of RFC 9113 §7.
type Code uint32

// The codes that are sent or mean something here.
const (
	NoError         Code = 0
	ProtocolError   Code = 1
	FlowControl     Code = 3
	StreamClosed    Code = 5
	FrameSize       Code = 6
	RefusedStream   Code = 7
	Cancel          Code = 8
	Compression     Code = 9
	EnhanceYourCalm Code = 11
)

var codes = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
	"STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR",
	"CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

// String gives the RFC's name.
func (c Code) String() string {
	if int(c) < len(codes) {
		return codes[c]
	}
	return "code " + strconv.FormatUint(uint64(c), 10)
}

// Error is why a connection or a stream has ended before its time.
type Error struct {
	Code Code
	// Why is what was wrong with the peer's frames; "" when the peer says it of
	// ours.
	Why string
	// Unserved says that the peer has not looked at the request.
	Unserved bool
}

// errCrowded is the end of a stream that had not begun when the peer said how many
// it takes.
var errCrowded = &Error{Code: RefusedStream, Unserved: true}

// Error implements error.
func (e *Error) Error() string {
	if e.Why == "" {
		return "HTTP/2 endpoint ended it with " + e.Code.String()
	}
	return "HTTP/2 endpoint broke the protocol: " + e.Why + " (" + e.Code.String() + ")"
}

func broken(code Code, why string) *Error { return &Error{Code: code, Why: why} }

// frame is one that has come.
type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

func (f *frame) has(flag byte) bool { return f.flags&flag != 0 }

// parse reads the frame at the start of in; used 0: it is not complete.
func (f *frame) parse(in []byte) (used int, err error) {
	if len(in) < headLen {
		return 0, nil
	}
	n := int(in[0])<<16 | int(in[1])<<8 | int(in[2])
	if n > frameMost {
		return 0, broken(FrameSize, "frame of "+strconv.Itoa(n)+" bytes")
	}
	if len(in) < headLen+n {
		return 0, nil
	}
	f.kind, f.flags = in[3], in[4]
	f.stream = binary.BigEndian.Uint32(in[5:]) & mostWindow
	f.payload = in[headLen : headLen+n]
	return headLen + n, nil
}

// unpad takes padding, and with HEADERS the priority, out of a payload.
func (f *frame) unpad() ([]byte, error) {
	if f.flags&(flagPadded|flagPriority) == 0 {
		return f.payload, nil
	}
	return f.strip()
}

func (f *frame) strip() ([]byte, error) {
	p, pad := f.payload, 0
	if f.has(flagPadded) {
		if len(p) == 0 {
			return nil, broken(FrameSize, "no room for the length of the padding")
		}
		pad, p = int(p[0]), p[1:]
	}
	if f.kind == frameHeaders && f.has(flagPriority) {
		if len(p) < 5 {
			return nil, broken(FrameSize, "no room for the priority")
		}
		p = p[5:]
	}
	if pad > len(p) {
		return nil, broken(ProtocolError, "more padding than payload")
	}
	return p[:len(p)-pad], nil
}

func appendFrameHead(b []byte, n int, kind, flags byte, stream uint32) []byte {
	return append(b, byte(n>>16), byte(n>>8), byte(n), kind, flags,
		byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

// appendNumber appends a frame whose payload is one number.
func appendNumber(b []byte, kind byte, stream, n uint32) []byte {
	return binary.BigEndian.AppendUint32(appendFrameHead(b, 4, kind, 0, stream), n)
}

func appendSetting(b []byte, id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, id), value)
}
