package h2

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// plainFields is what becomes of a head, read line by line.
func plainFields(head string) (fields []string, framing string, used int, ok bool) {
	line, rest, ok := strings.Cut(head, "\n")
	if !ok || !strings.HasSuffix(line, "\r") {
		return nil, "", 0, false
	}
	start := strings.Split(strings.TrimSuffix(line, "\r"), " ")
	start = append(start, "")
	own := []string{":method=" + start[0], ":scheme=http", ":path=" + start[1]}
	host, left, chunked := "", int64(0), false
	for hosts := 0; ; {
		if line, rest, ok = strings.Cut(rest, "\n"); !ok || !strings.HasSuffix(line, "\r") {
			return nil, "", 0, false
		}
		if line = strings.TrimSuffix(line, "\r"); line == "" {
			break
		}
		name, value, colon := strings.Cut(line, ":")
		if !colon {
			continue
		}
		name, value = lower(name), strings.Trim(value, " \t")
		switch name {
		case "host":
			if hosts++; hosts == 1 {
				host = value
			}
			continue
		case "connection", "keep-alive", "proxy-connection", "upgrade", "http2-settings":
			continue
		case "te":
			if lower(value) != "trailers" {
				continue
			}
		case "content-length":
			for _, c := range []byte(value) {
				left = left*10 + int64(c-'0')
			}
		case "transfer-encoding":
			chunked = true
			continue
		}
		fields = append(fields, name+"="+value)
	}
	fields = append(append(own, ":authority="+host), fields...)
	return fields, fmt.Sprint(left, chunked, start[0] == "HEAD"), len(head) - len(rest), true
}

func lower(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] = toLower(b[i])
	}
	return string(b)
}

// codedFields is the same from appendHead, with room for spare bytes behind what is
// there already.
func codedFields(t *testing.T, conn *Conn, head string, spare int) (fields []string, framing string, used int, ok bool) {
	b := slices.Grow([]byte("before"), spare)
	s := &Stream{conn: conn}
	p := []byte(head)
	block, used, size, err := s.appendHead(b[:len(b):len(b)+spare], slices.Clip(p))
	if err != nil {
		return nil, "", 0, false
	}
	if string(p) != head || !bytes.HasPrefix(block, []byte("before")) {
		t.Fatal("wrote where it must not")
	}
	d := hpack.NewDecoder(0, func(f hpack.HeaderField) { fields = append(fields, f.Name+"="+f.Value) })
	if _, err := d.Write(block[len("before"):]); err != nil {
		t.Fatal(err)
	}
	if least := len(block) - len("before"); size < least/2 {
		t.Errorf("counts %d bytes for a block of %d", size, least)
	}
	return fields, fmt.Sprint(s.left, s.chunked, s.forHead), used, true
}

// checkHead has a head coded on a new connection, where the last times find what the
// first ones have left in its known lines.
func checkHead(t *testing.T, head string) {
	t.Helper()
	checkHeadOn(t, &Conn{}, head)
}

func checkHeadOn(t *testing.T, conn *Conn, head string) {
	t.Helper()
	want, framing, length, ok := plainFields(head)
	for _, spare := range []int{4 * len(head), roomFor(len(head)), 0, 9, 40, 100, roomFor(len(head)), 4 * len(head)} {
		got, mine, used, good := codedFields(t, conn, head, spare)
		if good != ok || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) || mine != framing || used != length {
			t.Fatalf("%.300q with room for %d:\ngot  %.400q %s %d %t\nwant %.400q %s %d %t",
				head, spare, got, mine, used, good, want, framing, length, ok)
		}
	}
}

var heads = []string{
	usualRequest, usualRequest + "body that follows",
	"GET / HTTP/1.1\r\n\r\n", "HEAD /x HTTP/1.1\r\nA:b\r\nHOST: late\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
	"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a HTTP/1.0\r\nhost: a\r\n\r\n", "GET\r\nHost: a\r\n\r\n", "HEAD\r\n\r\n", "GET /\r\n\r\n",
	"GET /x\nGET /y HTTP/1.1\r\n\r\n", "GET /", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost: a\n\n",
	"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nX: \t v \t \r\nY:\r\nZ: \t\r\n: empty\r\nno colon\r\nB c: d\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\nUpper\xc1\xdaCASE@[`{: \xff\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nTE: Trailers\r\nte: gzip\r\nTransfer-Encoding: chunked\r\nKeep-Alive: 1\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nAccept: 1\r\nAccept-Encoding: 2\r\nCookie: c\r\nAccess-Control-Allow-Origin: 3\r\n" +
		"Strict-Transport-Security: 4\r\nStrict-Xransport-Security: 5\r\nUpgrade: x\r\nHTTP2-Settings: x\r\nProxy-Connection: x\r\nConnection: x\r\n\r\n",
}

func TestHeads(t *testing.T) {
	for _, head := range heads {
		checkHead(t, head)
	}
	for i := range codedNames {
		if name := codedNames[i].text; name != "" {
			for _, name := range []string{name, strings.ToUpper(name), name[1:] + "x", "x" + name} {
				checkHead(t, "GET / HTTP/1.1\r\nHost: a\r\n"+name+": 1\r\n\r\n")
			}
		}
	}
}

// Every length up to where the forms of lengths change, at every distance from the
// head's end.
func TestHeadLengths(t *testing.T) {
	for n := range 300 {
		long := strings.Repeat("v", n)
		checkHead(t, "GET /"+long+" HTTP/1.1\r\nHost: "+long+"\r\nN"+long+": w\r\nX: "+long+"\r\n\r\n")
		checkHead(t, "GET / HTTP/1.1\r\nHost: a\r\nX:"+long[:n%20]+"\r\n\r\n")
	}
	for _, n := range []int{1000, 16383, 16384 + 127, 40000} {
		long := strings.Repeat("v", n)
		checkHead(t, "GET / HTTP/1.1\r\nHost: "+long+"\r\nCookie: "+long+"\r\n"+long+": b\r\n\r\n")
	}
}

func FuzzHead(f *testing.F) {
	for _, head := range heads {
		f.Add(head)
	}
	f.Fuzz(func(t *testing.T, head string) { checkHead(t, head) })
}
