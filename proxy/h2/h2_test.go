package h2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"perigee/proxy/wire"
)

// peer is the server's side in a test, made of x/net's frames and HPACK.
type peer struct {
	t      testing.TB
	conn   *Conn
	out    []byte
	framer *http2.Framer
	in     bytes.Buffer // what the server sends
	got    bytes.Buffer // what it reads
	enc    *hpack.Encoder
	block  bytes.Buffer
	woken  []*Stream
}

func newPeer(t testing.TB, settings ...http2.Setting) *peer {
	p := &peer{t: t}
	p.conn = New(&p.out, Limits{HeaderBytes: 4096, Streams: 100}, func(s *Stream) { p.woken = append(p.woken, s) })
	p.framer = http2.NewFramer(&p.in, &p.got)
	p.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.enc = hpack.NewEncoder(&p.block)
	p.enc.SetMaxDynamicTableSizeLimit(0)
	if err := p.framer.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	return p
}

// feed gives the client what the server has sent.
func (p *peer) feed() error {
	_, err := p.conn.Feed(p.in.Bytes())
	p.in.Reset()
	return err
}

// headers sends a header block.
func (p *peer) headers(id uint32, end bool, fields ...string) {
	p.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_ = p.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.block.Bytes(), EndStream: end, EndHeaders: true})
}

// frames is what the client has sent, as text.
func (p *peer) frames() string {
	out := bytes.TrimPrefix(p.out, []byte(preface))
	p.got.Write(out)
	p.out = p.out[:0]
	var all []string
	for {
		f, err := p.framer.ReadFrame()
		if err != nil {
			return strings.Join(all, "\n")
		}
		text := fmt.Sprintf("%v %d", f.Header().Type, f.Header().StreamID)
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			for _, h := range f.Fields {
				text += " " + h.Name + "=" + h.Value
			}
			if f.StreamEnded() {
				text += " end"
			}
		case *http2.DataFrame:
			text += fmt.Sprintf(" %q", f.Data())
			if f.StreamEnded() {
				text += " end"
			}
		case *http2.RSTStreamFrame:
			text += " " + f.ErrCode.String()
		case *http2.WindowUpdateFrame:
			text += fmt.Sprint(" ", f.Increment)
		}
		all = append(all, text)
	}
}

// begin sends a request on a new stream.
func (p *peer) begin(text string) *Stream {
	s := p.conn.Open()
	if err := s.Send(&[3][]byte{[]byte(text)}); err != nil {
		p.t.Fatal(err)
	}
	return s
}

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// text reads all that a stream has to say.
func text(s *Stream) (string, error) {
	var all []byte
	for buf := make([]byte, 100); ; {
		n, err := s.Read(buf)
		all = append(all, buf[:n]...)
		if err != nil {
			return string(all), err
		}
	}
}

func TestRequests(t *testing.T) {
	const start = "SETTINGS 0\nWINDOW_UPDATE 0 983041\n"
	long := strings.Repeat("x", 20000)
	for _, c := range []struct{ name, in, want string }{
		{"plain", "GET /a?b HTTP/1.1\r\nHost: a.test\r\nX-Odd-NAME:  v \r\nUser-Agent: u\r\n\r\n",
			"HEADERS 1 :method=GET :scheme=http :path=/a?b :authority=a.test x-odd-name=v user-agent=u end"},
		{"connection's own fields", "PATCH / HTTP/1.1\r\nConnection: close\r\nUpgrade: x\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\nHTTP2-Settings: x\r\nTE: gzip\r\nHost: a\r\n\r\n",
			"HEADERS 1 :method=PATCH :scheme=http :path=/ :authority=a end"},
		{"length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody",
			"HEADERS 1 :method=POST :scheme=http :path=/ :authority=a content-length=4\nDATA 1 \"body\" end"},
		{"no length", "PUT / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-End: 1\r\n\r\n",
			"HEADERS 1 :method=PUT :scheme=http :path=/ :authority=a te=trailers\nDATA 1 \"abc\"\nDATA 1 \"de\"\nHEADERS 1 x-end=1 end"},
		{"long field", "GET / HTTP/1.1\r\nHost: a\r\nX: " + long + "\r\n\r\n",
			"HEADERS 1 :method=GET :scheme=http :path=/ :authority=a x=" + long + " end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t)
			p.framer.MaxHeaderListSize = 1 << 20
			s := p.conn.Open()
			head, body, _ := strings.Cut(c.in, "\r\n\r\n")
			if err := s.Send(&[3][]byte{[]byte(head + "\r\n\r\n"), []byte(body)}); err != nil {
				t.Fatal(err)
			}
			if got := p.frames(); got != start+c.want {
				t.Errorf("got  %.300s\nwant %.300s", got, start+c.want)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name string
		say  func(p *peer)
		want string
	}{
		{"length", func(p *peer) {
			p.headers(1, false, ":status", "200", "content-length", "4", "x-a", "b")
			_ = p.framer.WriteData(1, true, []byte("body"))
		}, "HTTP/1.1 200 \r\ncontent-length: 4\r\nx-a: b\r\n\r\nbody"},
		{"no length, trailers", func(p *peer) {
			p.headers(1, false, ":status", "100")
			p.headers(1, false, ":status", "404")
			_ = p.framer.WriteDataPadded(1, false, []byte("abc"), []byte{0, 0})
			p.headers(1, true, "x-sum", "9")
		}, "HTTP/1.1 100 \r\n\r\nHTTP/1.1 404 \r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 9\r\n\r\n"},
		{"no body", func(p *peer) { p.headers(1, true, ":status", "200") }, "HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n"},
		{"204", func(p *peer) { p.headers(1, true, ":status", "204") }, "HTTP/1.1 204 \r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t)
			s := p.begin(get)
			c.say(p)
			if err := p.feed(); err != nil {
				t.Fatal(err)
			}
			if got, err := text(s); got != c.want || err != io.EOF {
				t.Errorf("got %q, %v", got, err)
			}
			s.Close()
			if got := p.frames(); strings.Contains(got, "RST_STREAM") {
				t.Errorf("a complete exchange was reset: %s", got)
			}
		})
	}
}

// TestHostile has the peer break rules; conn: the connection ends, else the
// stream alone.
func TestHostile(t *testing.T) {
	raw := func(b ...byte) func(p *peer) { return func(p *peer) { p.in.Write(b) } }
	for _, c := range []struct {
		name string
		conn bool
		say  func(p *peer)
	}{
		{"long frame", true, raw(1, 0, 0, 0, 0, 0, 0, 0, 1)},
		{"DATA of no stream", true, func(p *peer) { _ = p.framer.WriteData(7, true, []byte("x")) }},
		{"HEADERS of no stream", true, func(p *peer) { p.headers(2, true, ":status", "200") }},
		{"DATA first", false, func(p *peer) { _ = p.framer.WriteData(1, false, []byte("x")) }},
		{"too much DATA", true, func(p *peer) {
			p.headers(1, false, ":status", "200")
			for range 6 {
				_ = p.framer.WriteData(1, false, make([]byte, 16000))
			}
		}},
		{"more than promised", false, func(p *peer) {
			p.headers(1, false, ":status", "200", "content-length", "1")
			_ = p.framer.WriteData(1, true, []byte("xx"))
		}},
		{"less than promised", false, func(p *peer) { p.headers(1, true, ":status", "200", "content-length", "1") }},
		{"two lengths", false, func(p *peer) {
			p.headers(1, false, ":status", "200", "content-length", "1", "content-length", "1")
		}},
		{"line break in value", false, func(p *peer) { p.headers(1, false, ":status", "200", "a", "b\r\nc: d") }},
		{"colon in name", false, func(p *peer) { p.headers(1, false, ":status", "200", "a: b", "c") }},
		{"connection's field", false, func(p *peer) { p.headers(1, false, ":status", "200", "transfer-encoding", "chunked") }},
		{"no status", false, func(p *peer) { p.headers(1, true, "a", "b") }},
		{"switch of protocols", false, func(p *peer) { p.headers(1, false, ":status", "101") }},
		{"long fields", false, func(p *peer) { p.headers(1, false, ":status", "200", "a", strings.Repeat("1", 5000)) }},
		{"window of 0", false, func(p *peer) { p.in.Write(appendNumber(nil, frameWindow, 1, 0)) }},
		{"window too large", true, func(p *peer) { _ = p.framer.WriteWindowUpdate(0, mostWindow) }},
		{"push", true, func(p *peer) { p.in.Write(appendFrameHead(nil, 0, framePush, 4, 1)) }},
		{"bad compression", true, func(p *peer) { p.in.Write(append(appendFrameHead(nil, 1, frameHeaders, 4, 1), 0xff)) }},
		{"table of ours", true, func(p *peer) { p.in.Write(append(appendFrameHead(nil, 1, frameHeaders, 4, 1), 0x80|62)) }},
		{"endless fields", true, func(p *peer) {
			p.in.Write(appendFrameHead(nil, 0, frameHeaders, 0, 1))
			for range 100 {
				p.in.Write(appendFrameHead(nil, 0, frameContinuation, 0, 1))
			}
		}},
		{"cut fields", true, func(p *peer) {
			p.in.Write(appendFrameHead(nil, 0, frameHeaders, 0, 1))
			_ = p.framer.WritePing(false, [8]byte{})
		}},
		{"endless pings", true, func(p *peer) {
			for range 2000 {
				_ = p.framer.WritePing(false, [8]byte{})
			}
		}},
		{"empty DATA", true, func(p *peer) {
			p.headers(1, false, ":status", "200")
			for range 2000 {
				_ = p.framer.WriteData(1, false, nil)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t)
			s, other := p.begin(get), p.begin(get)
			c.say(p)
			err := p.feed()
			var why *Error
			if c.conn {
				if !errors.As(err, &why) || why.Why == "" {
					t.Fatalf("the connection goes on: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := text(s); !errors.As(err, &why) {
				t.Errorf("the stream goes on: %v", err)
			}
			p.headers(3, true, ":status", "200")
			if err := p.feed(); err != nil {
				t.Fatal(err)
			}
			if got, err := text(other); err != io.EOF {
				t.Errorf("the other stream: %q, %v", got, err)
			}
			if got := p.frames(); !strings.Contains(got, "RST_STREAM 1 ") {
				t.Errorf("no RST_STREAM: %s", got)
			}
		})
	}
}

func TestFlowControl(t *testing.T) {
	p := newPeer(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 2})
	if err := p.feed(); err != nil {
		t.Fatal(err)
	}
	if n := p.conn.Room(); n != 2 {
		t.Errorf("room for %d", n)
	}
	s := p.conn.Open()
	pieces := [3][]byte{[]byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 25\r\n\r\n"), bytes.Repeat([]byte("x"), 25)}
	for i, want := range []string{"xxxxxxxxxx", "xxxxxxxxxx", "xxxxx"} {
		err := s.Send(&pieces)
		if (err == ErrWait) != (i < 2) || err != nil && err != ErrWait {
			t.Fatal(i, err)
		}
		if got := p.frames(); !strings.Contains(got, fmt.Sprintf("DATA 1 %q", want)) {
			t.Errorf("sent %s", got)
		}
		p.woken = nil
		_ = p.framer.WriteWindowUpdate(1, 10)
		if err := p.feed(); err != nil {
			t.Fatal(err)
		}
		if (len(p.woken) == 1) != (i < 2) {
			t.Errorf("%d: woken %d", i, len(p.woken))
		}
	}
	s.Close()
	if p.conn.Room() != 2 {
		t.Error("the place is not free again")
	}
}

// TestLongBody reads bodies of several streams in turn: what one holds is never
// another one's, and what was borrowed is given back.
func TestLongBody(t *testing.T) {
	p := newPeer(t)
	var want, got [4][]byte
	read := func(i int, s *Stream, n int) {
		buf := make([]byte, min(n, 60_000))
		n, _ = s.Read(buf)
		got[i] = append(got[i], buf[:n]...)
	}
	for range 3 {
		var streams [4]*Stream
		for i := range streams {
			streams[i] = p.begin(get)
			p.headers(streams[i].id, false, ":status", "200")
			want[i], got[i] = []byte("HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n"), nil
		}
		for n := range 60 {
			for i, s := range streams {
				piece := bytes.Repeat([]byte{byte('a' + i)}, 500+i*1000+n*10)
				for s.granted < int64(len(piece)) {
					read(i, s, 60_000)
				}
				_ = p.framer.WriteData(s.id, n == 59, piece)
				want[i] = append(append(wire.AppendChunkHeader(want[i], len(piece)), piece...), "\r\n"...)
			}
			if err := p.feed(); err != nil {
				t.Fatal(err)
			}
			for i, s := range streams {
				read(i, s, 3*i+n*n*5) // some fall behind
			}
		}
		for i, s := range streams {
			rest, err := text(s)
			if want[i] = append(want[i], "0\r\n\r\n"...); err != io.EOF || string(got[i])+rest != string(want[i]) {
				t.Errorf("stream %d: %d bytes, want %d, %v", i, len(got[i])+len(rest), len(want[i]), err)
			}
			s.Close()
			if s.large != nil || cap(s.in) > keepBody {
				t.Errorf("stream %d holds %d bytes", i, cap(s.in))
			}
		}
	}
}

func TestGoAway(t *testing.T) {
	p := newPeer(t)
	first, second := p.begin(get), p.begin(get)
	third := p.conn.Open()
	_ = p.framer.WriteGoAway(1, http2.ErrCodeNo, nil)
	p.headers(1, true, ":status", "200")
	if err := p.feed(); err != nil {
		t.Fatal(err)
	}
	if _, err := text(first); err != io.EOF {
		t.Error(err)
	}
	var why *Error
	if _, err := text(second); !errors.As(err, &why) || !why.Unserved {
		t.Error(err)
	}
	if err := third.Send(&[3][]byte{[]byte(get)}); !errors.As(err, &why) || !why.Unserved {
		t.Error(err)
	}
	if p.conn.Room() != 0 {
		t.Error("more streams may begin")
	}
}

// A stream that was opened before the peer said how many it takes does not begin
// behind that word.
func TestOpenedBeforeTheLimit(t *testing.T) {
	p := newPeer(t, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
	first, second := p.begin(get), p.conn.Open()
	if err := p.feed(); err != nil {
		t.Fatal(err)
	}
	_ = p.frames()
	var why *Error
	if err := second.Send(&[3][]byte{[]byte(get)}); !errors.As(err, &why) || !why.Unserved {
		t.Errorf("%v, want an error that says the request was not served", err)
	}
	second.Close()
	if sent := p.frames(); sent != "" {
		t.Errorf("the peer was sent %q", sent)
	}
	first.Close()
	if p.conn.Room() != 1 {
		t.Errorf("room for %d, want 1", p.conn.Room())
	}
}

// FuzzFeed gives frames that make no sense: nothing may crash or grow.
func FuzzFeed(f *testing.F) {
	p := newPeer(f)
	p.headers(1, false, ":status", "200", "x", "y")
	_ = p.framer.WriteData(1, false, []byte("abc"))
	p.headers(1, true, "x-sum", "9")
	_ = p.framer.WriteRSTStream(3, http2.ErrCodeRefusedStream)
	_ = p.framer.WriteGoAway(3, http2.ErrCodeNo, nil)
	f.Add(p.in.Bytes(), uint16(7))
	f.Fuzz(func(t *testing.T, in []byte, cut uint16) {
		var out []byte
		c := New(&out, Limits{HeaderBytes: 4096, Streams: 10}, func(*Stream) {})
		streams := []*Stream{c.Open(), c.Open(), c.Open()}
		for _, s := range streams {
			_ = s.Send(&[3][]byte{[]byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"), make([]byte, 100000)})
		}
		var held []byte
		for len(in) > 0 {
			n := min(len(in), int(cut)+1)
			held = append(held, in[:n]...)
			in = in[n:]
			used, err := c.Feed(held)
			held = held[used:]
			if err != nil {
				c.Fail(err)
				break
			}
		}
		for _, s := range streams {
			if len(s.in) > 2*Window+3*4096+65536 {
				t.Errorf("a stream holds %d bytes", len(s.in))
			}
			_, _ = text(s)
			s.Close()
		}
		if c.streams.n != 0 || c.open != 0 {
			t.Errorf("%d streams are left", c.streams.n)
		}
	})
}
