package trace

import (
	"math"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
)

// Spans are written as protobuf while they go on (OTLP 1.x,
// opentelemetry/proto/trace/v1/trace.proto and common/v1/common.proto): fields of
// a message may come in any order, and what was lent for a call need not be kept.

// Numbers of fields: of ScopeSpans, of Span, of Status.
const (
	fieldSpans protowire.Number = 2

	fieldTraceID    protowire.Number = 1
	fieldSpanID     protowire.Number = 2
	fieldState      protowire.Number = 3
	fieldParent     protowire.Number = 4
	fieldName       protowire.Number = 5
	fieldKind       protowire.Number = 6
	fieldStart      protowire.Number = 7
	fieldEnd        protowire.Number = 8
	fieldAttributes protowire.Number = 9
	fieldDropped    protowire.Number = 10
	fieldStatus     protowire.Number = 15
	fieldFlags      protowire.Number = 16

	fieldMessage protowire.Number = 2
	fieldCode    protowire.Number = 3
)

// Tags of one byte, written as such: of Span.attributes, of KeyValue, of AnyValue.
const (
	tagAttribute = byte(fieldAttributes<<3) | byte(protowire.BytesType)
	tagKey       = 1<<3 | byte(protowire.BytesType)
	tagValue     = 2<<3 | byte(protowire.BytesType)
	tagText      = 1<<3 | byte(protowire.BytesType)
	tagNumber    = 3<<3 | byte(protowire.VarintType)
	tagFraction  = 4<<3 | byte(protowire.Fixed64Type)
)

// Attribute is a named value of a span; its texts are lent for the call that takes
// it.
type Attribute struct {
	name, text string
	number     uint64 // or the bits of a fraction
	tag        byte
}

// Text makes an attribute of a text; if that is empty, none.
func Text(name, value string) Attribute { return Attribute{name: name, text: value, tag: tagText} }

// Bytes makes an attribute of a text that is lent.
func Bytes(name string, value []byte) Attribute {
	return Text(name, unsafe.String(unsafe.SliceData(value), len(value)))
}

// Number makes an attribute of a number.
func Number(name string, value int64) Attribute {
	return Attribute{name: name, number: uint64(value), tag: tagNumber}
}

// Seconds makes an attribute of a time, in seconds.
func Seconds(name string, d time.Duration) Attribute {
	return Attribute{name: name, number: math.Float64bits(d.Seconds()), tag: tagFraction}
}

func (a *Attribute) none() bool { return a.tag == tagText && a.text == "" }

// limits are OpenTelemetry's of one span, from the environment. Below 0: none.
type limits struct {
	attributes int
	text       int // characters of an attribute's
}

func newLimits() limits {
	l := sdk.NewSpanLimits()
	return limits{attributes: l.AttributeCountLimit, text: l.AttributeValueLengthLimit}
}

// maxText is the longest text in bytes: clients choose theirs.
const maxText = 1024

// clean is text as a message may have it: UTF-8, not too long.
func clean(text string, limit int) string {
	if len(text) > maxText {
		text = text[:maxText]
	}
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\ufffd")
	}
	if limit < 0 || len(text) <= limit {
		return text
	}
	n := 0
	for at := range text {
		if n == limit {
			return text[:at]
		}
		n++
	}
	return text
}

// appendAttribute appends one as the field of a Span: a KeyValue with an AnyValue
// in it.
func appendAttribute(dst []byte, a *Attribute, limit int) []byte {
	text, value := "", 9 // tag, and eight bytes of a fraction
	switch a.tag {
	case tagText:
		text = clean(a.text, limit)
		value = 1 + protowire.SizeBytes(len(text))
	case tagNumber:
		value = 1 + protowire.SizeVarint(a.number)
	}
	dst = append(dst, tagAttribute)
	dst = protowire.AppendVarint(dst, uint64(1+protowire.SizeBytes(len(a.name))+1+protowire.SizeBytes(value)))
	dst = append(dst, tagKey)
	dst = protowire.AppendString(dst, a.name)
	dst = append(dst, tagValue)
	dst = protowire.AppendVarint(dst, uint64(value))
	dst = append(dst, a.tag)
	switch a.tag {
	case tagText:
		return protowire.AppendString(dst, text)
	case tagNumber:
		return protowire.AppendVarint(dst, a.number)
	}
	return protowire.AppendFixed64(dst, a.number)
}

func appendIDs(dst []byte, trace *TraceID, id, parent *SpanID) []byte {
	dst = appendMessage(dst, fieldTraceID, trace[:])
	dst = appendMessage(dst, fieldSpanID, id[:])
	if *parent != (SpanID{}) {
		dst = appendMessage(dst, fieldParent, parent[:])
	}
	return dst
}

// Flags beyond W3C's: it is known whether the parent is somebody else's span, and
// it is.
const (
	flagLocal  = uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
	flagRemote = flagLocal | uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
)

func appendFlags(dst []byte, flags uint32) []byte {
	return protowire.AppendFixed32(protowire.AppendTag(dst, fieldFlags, protowire.Fixed32Type), flags)
}

func appendTime(dst []byte, field protowire.Number, ns int64) []byte {
	dst = protowire.AppendTag(dst, field, protowire.Fixed64Type)
	return protowire.AppendFixed64(dst, uint64(max(0, ns)))
}

func appendNumber(dst []byte, field protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), n)
}

func appendText(dst []byte, field protowire.Number, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(dst, field, protowire.BytesType), clean(text, -1))
}

func appendMessage(dst []byte, field protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, field, protowire.BytesType), message)
}

// appendFailure appends a Status that says what went wrong.
func appendFailure(dst []byte, message string) []byte {
	message = clean(message, -1)
	dst = protowire.AppendTag(dst, fieldStatus, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(1+protowire.SizeBytes(len(message))+2)) // each tag is one byte
	dst = appendText(dst, fieldMessage, message)
	return appendNumber(dst, fieldCode, uint64(tracepb.Status_STATUS_CODE_ERROR))
}
