package upstream

import (
	"testing"

	"perigee/proxy/wire"
)

// FuzzFraming cuts a response's bytes at every place that cuts says: the payload
// and the outcome must not depend on it.
func FuzzFraming(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\nmore",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\nz\r\n",
		"HTTP/1.1 200 OK\r\n\r\nuntil the end",
		"HTTP/1.1 204 No Content\r\n\r\n",
	} {
		f.Add([]byte(seed), uint64(0x5a5a_0f0f_3333_0101))
	}
	f.Fuzz(func(t *testing.T, stream []byte, cuts uint64) {
		var res wire.ResponseHead
		n, err := wire.ScanResponse(&res, stream, 0, wire.Limits{}, wire.AskedOther)
		if err != nil || n == 0 {
			return
		}
		body := stream[n:]
		whole, used, wholeErr := decode(&res, body, 0)
		cut, cutUsed, cutErr := decode(&res, body, cuts|1)
		if whole != cut || used != cutUsed || wholeErr != cutErr {
			t.Errorf("at once: %q, %d used, %v; in pieces: %q, %d used, %v", whole, used, wholeErr, cut, cutUsed, cutErr)
		}
	})
}

// decode feeds body to a Framing, cut after each byte whose bit in cuts is set;
// 0 is one piece.
func decode(res *wire.ResponseHead, body []byte, cuts uint64) (payload string, used int, err error) {
	var f Framing
	f.Start(res)
	for begin := 0; begin < len(body); {
		end := begin + 1
		for end < len(body) && cuts>>(end%64)&1 == 0 {
			end++
		}
		for begin < end {
			data, n, err := f.Next(body[begin:end])
			payload += string(data)
			used += n
			begin += n
			if err != nil || f.Done() {
				return payload, used, err
			}
			if n == 0 {
				panic("BUG: bytes are not used though more cannot help")
			}
		}
	}
	return payload, used, f.End()
}

func TestFramingLeft(t *testing.T) {
	var f Framing
	if f.Start(&wire.ResponseHead{}); !f.Done() || f.Left() != 0 {
		t.Error("no body is not done")
	}
	f.Start(&wire.ResponseHead{Head: wire.Head{Body: wire.BodyLength, ContentLength: 7}})
	if _, used, _ := f.Next([]byte("hello")); used != 5 || f.Left() != 2 || f.Done() {
		t.Errorf("%d used, %d left", used, f.Left())
	}
	if f.End() != ErrTruncated {
		t.Error("an end before the end is no error")
	}
	f.Start(&wire.ResponseHead{Head: wire.Head{Body: wire.BodyUntilClose}})
	if f.Left() != -1 || f.End() != nil || !f.Done() {
		t.Error("the end of the stream is not the body's end")
	}
}
