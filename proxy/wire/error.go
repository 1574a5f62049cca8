package wire

import "strconv"

// Error is a refusal. All values are the package's own preallocated variables,
// so they can be compared with == and errors.Is, and refusing costs nothing.
// The place of the offence is in Head.Offset or Chunks.Offset.
type Error struct {
	// Status is what the peer is answered: for a request 400, 414, 417, 431,
	// 501 or 505; for a response head always 502. Chunks cannot know their
	// direction and say 400 or 431: an upstream's bad chunk is a 502.
	// Every refusal ends the connection, because what follows cannot be framed.
	Status int
	// Reason is a short word for logs and metric labels; the set is bounded.
	Reason string
	// Text says in one line what is wrong and what would be right. It is for
	// the log: it holds no bytes of the message.
	Text string
}

// Error implements error. It allocates and is meant for logs.
func (e *Error) Error() string {
	return "HTTP message refused with " + strconv.Itoa(e.Status) + " (" + e.Reason + "): " + e.Text
}

func bad(reason, text string) *Error { return &Error{Status: 400, Reason: reason, Text: text} }

// Refusals of bytes and lines, shared by heads and trailers of both directions.
var (
	ErrBareLF      = bad("bare_lf", "a line ends with LF alone; lines end with CRLF")
	ErrBareCR      = bad("bare_cr", "CR without LF inside a line")
	ErrNUL         = bad("nul", "NUL byte in the head")
	ErrControl     = bad("control_byte", "control byte in the head; only HTAB is allowed, in field values")
	ErrFold        = bad("obs_fold", "a field line starts with whitespace; folded lines are obsolete")
	ErrColonSpace  = bad("space_before_colon", "whitespace between field name and colon")
	ErrFieldName   = bad("field_name", "field name is empty or not a token")
	ErrNoColon     = bad("no_colon", "field line without a colon")
	ErrConnection  = bad("bad_connection", "Connection is not a list of tokens")
	ErrHeaderBytes = &Error{Status: 431, Reason: "header_bytes", Text: "head is larger than the limit for all its lines"}
	ErrFieldCount  = &Error{Status: 431, Reason: "field_count", Text: "more field lines than the limit"}
)

// Refusals of a request's first line.
var (
	ErrEmptyLines  = bad("empty_lines", "more than 4 empty lines before the request line")
	ErrMethod      = bad("bad_method", "method is empty or not a token followed by one space")
	ErrTarget      = bad("bad_target", "request target is none of /path, http://host/path and * (OPTIONS only)")
	ErrTargetByte  = bad("target_byte", "request target holds a control byte, DEL or '#'")
	ErrRequestLine = bad("request_line", "request line is not method, target and HTTP/1.x with one space between")
	ErrVersion     = &Error{Status: 505, Reason: "version", Text: "HTTP version is neither 1.0 nor 1.1"}
	ErrLineBytes   = &Error{Status: 414, Reason: "line_bytes", Text: "request line is longer than the limit"}
	ErrConnect     = &Error{Status: 501, Reason: "connect", Text: "CONNECT is not served by a reverse proxy"}
)

// Refusals of a request's meaning: framing, host, expectation.
var (
	ErrNoHost         = bad("no_host", "HTTP/1.1 request without Host")
	ErrHostRepeated   = bad("host_repeated", "more than one Host field")
	ErrHost           = bad("bad_host", "Host is not host[:port] of RFC 3986")
	ErrLength         = bad("bad_length", "Content-Length is not one decimal number up to 2^63-1")
	ErrLengthRepeated = bad("length_repeated", "more than one Content-Length field")
	ErrTransferLength = bad("te_and_length", "Transfer-Encoding and Content-Length together")
	ErrTransferOld    = bad("te_in_http10", "Transfer-Encoding in an HTTP/1.0 message")
	ErrTransferTwice  = bad("te_repeated", "more than one Transfer-Encoding field")
	ErrTransferList   = bad("bad_te", "Transfer-Encoding is empty, or chunked is applied twice or is not the last coding")
	ErrTransferCoding = &Error{Status: 501, Reason: "te_unknown", Text: "transfer coding other than chunked"}
	ErrExpect         = &Error{Status: 417, Reason: "expectation", Text: "expectation other than 100-continue"}
)

// Refusals of a chunked body. Status is the one for a request.
var (
	ErrChunkSize     = bad("chunk_size", "chunk size is not 1 to 16 hexadecimal digits of a number up to 2^63-1")
	ErrChunkExt      = bad("chunk_ext", "chunk extension does not follow RFC 9112 §7.1.1")
	ErrChunkExtBytes = bad("chunk_ext_bytes", "chunk extensions of one body exceed 16 KiB")
	ErrChunkEnd      = bad("chunk_end", "chunk data is not followed by CRLF")
	ErrTrailerField  = bad("trailer_field", "trailer section holds a framing, routing or connection field")
	ErrTrailerBytes  = &Error{Status: 431, Reason: "trailer_bytes", Text: "trailer section is larger than the limit"}
)

// badResponse is the 502 that an upstream's broken head becomes.
func badResponse(reason, text string) *Error {
	return &Error{Status: 502, Reason: reason, Text: text}
}

// Refusals of a response head. Those of single bytes and lines keep the reason
// of the request's refusal, under an upstream's status.
var (
	ErrStatusLine       = badResponse("status_line", "status line is not HTTP/1.x, three digits and a reason")
	ErrResponseVersion  = badResponse("version", "HTTP version is neither 1.0 nor 1.1")
	ErrResponseLength   = badResponse("bad_length", "Content-Length is not one decimal number, or its copies differ")
	ErrResponseBoth     = badResponse("te_and_length", "Transfer-Encoding and Content-Length together")
	ErrResponseOld      = badResponse("te_in_http10", "Transfer-Encoding in an HTTP/1.0 message")
	ErrResponseTransfer = badResponse("bad_te", "transfer coding other than one chunked")
	ErrResponseBytes    = badResponse("header_bytes", "head is larger than the limit for all its lines")
	ErrResponseFields   = badResponse("field_count", "more field lines than the limit")
	ErrResponseLF       = badResponse("bare_lf", "a line ends with LF alone; lines end with CRLF")
	ErrResponseCR       = badResponse("bare_cr", "CR without LF inside a line")
	ErrResponseNUL      = badResponse("nul", "NUL byte in the head")
	ErrResponseControl  = badResponse("control_byte", "control byte in the head; only HTAB is allowed, in field values")
	ErrResponseFold     = badResponse("obs_fold", "a field line starts with whitespace; folded lines are obsolete")
	ErrResponseColon    = badResponse("space_before_colon", "whitespace between field name and colon")
	ErrResponseName     = badResponse("field_name", "field name is empty or not a token")
	ErrResponseNoColon  = badResponse("no_colon", "field line without a colon")
)

// asResponse gives the 502 twin of a refusal that the shared line reader found.
func asResponse(e *Error) *Error {
	switch e {
	case ErrBareLF:
		return ErrResponseLF
	case ErrBareCR:
		return ErrResponseCR
	case ErrNUL:
		return ErrResponseNUL
	case ErrControl:
		return ErrResponseControl
	case ErrFold:
		return ErrResponseFold
	case ErrColonSpace:
		return ErrResponseColon
	case ErrFieldName:
		return ErrResponseName
	case ErrNoColon:
		return ErrResponseNoColon
	case ErrHeaderBytes:
		return ErrResponseBytes
	case ErrFieldCount:
		return ErrResponseFields
	}
	return e
}
