//go:build cgo && luajit

package luavm

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A socketBed runs scripts on one VM and performs what they wait for.
type socketBed struct {
	t    testing.TB
	pool *Pool

	mu  sync.Mutex
	log strings.Builder
}

// newSocketBed compiles texts.
func newSocketBed(t testing.TB, o Options, texts ...string) (*socketBed, []*Script) {
	t.Helper()
	bed := &socketBed{t: t}
	o.LogLevel = LevelDebug
	o.Log = func(_ *Slot, level int, line []byte) {
		bed.mu.Lock()
		defer bed.mu.Unlock()
		fmt.Fprintf(&bed.log, "[%d] %s\n", level, line)
	}
	pool, scripts := testPool(t, o, texts...)
	bed.pool = pool
	return bed, scripts
}

func (b *socketBed) logged() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

// run starts a script in an exchange of its own and returns what it printed.
func (b *socketBed) run(sc *Script) string {
	b.t.Helper()
	s, err := b.pool.Pin(0)
	if err != nil {
		b.t.Fatal(err)
	}
	defer s.Release()
	out := driveAll(s, s.Start(sc, PhaseContent, nil))
	if out.Kind == Failed {
		b.t.Errorf("%v\n%s", out.Err, out.Err.Traceback)
	}
	return string(s.Output())
}

// driveAll performs ops, each on its own goroutine, until the handler ends and
// all of them are back.
func driveAll(s *Slot, out Outcome) (last Outcome) {
	done := make(chan *Op, 64)
	begin := func(first *Op) {
		for op := first; op != nil; op = op.Next() {
			go func() { Perform(op); done <- op }()
		}
	}
	begin(out.Op)
	last = out
	for s.Waits() {
		if last.Kind != Wait {
			s.Cancel()
		}
		next := s.Resume(<-done, nil)
		if next.Kind == Gone {
			continue
		}
		last = next
		begin(next.Op)
	}
	return last
}

// serveTCP accepts connections until the test ends.
func serveTCP(t testing.TB, serve func(net.Conn)) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

func TestSocketReads(t *testing.T) {
	for _, c := range []struct{ name, send, lua, want string }{
		{"lines", "one\r\ntwo\nth\rree\r\nrest", `
			for i = 1, 3 do ngx.say(s:receive()) end
			ngx.say(s:receive("*l"))`, "one\ntwo\nthree\nnilclosedrest\n"},
		{"a size", "abcdef", `ngx.say(s:receive(4)) ngx.say(s:receive(4))`, "abcd\nnilclosedef\n"},
		{"all", "abc\r\ndef", `ngx.say(s:receive("*a")) ngx.say(s:receive("*a"))`, "abc\r\ndef\n\n"},
		{"any", "abcdef", `ngx.say(s:receiveany(4)) ngx.say(s:receiveany(4)) ngx.say(s:receiveany(4))`, "abcd\nef\nnilclosed\n"},
		{"until", "aab--b-c--endtail", `local r = s:receiveuntil("--end") ngx.say(r()) ngx.say(s:receive("*a"))`, "aab--b-c\ntail\n"},
		{"until, inclusive", "xy--end!", `local r = s:receiveuntil("--end", {inclusive = true}) ngx.say(r()) ngx.say(s:receive("*a"))`, "xy--end\n!\n"},
		{"until, sized", "hello, world -agentzh", `local r = s:receiveuntil("-agentzh")
			ngx.say(r(4)) ngx.say(r(4)) ngx.say(r(1024)) ngx.say(r(4))`, "hell\no, w\norld \nnilnilnil\n"},
		{"until, which never comes", "abc--", `ngx.say(s:receiveuntil("--end")())`, "nilclosedabc\n"},
		{"another reader takes what had matched", "abc--xyz", `s:settimeout(50) ngx.say(s:receiveuntil("--end")()) ngx.say(s:receive(2))`, "nilclosedabc--xyz\nnilclosed\n"},
		{"arguments", "x", `ngx.say(pcall(s.receive, s, "*b")) ngx.say(pcall(function() s:receive({}) end)) ngx.say(s:receive(0))`,
			"falsebad argument #2 to '?' (bad pattern argument)\nfalsescript0:LINE: bad argument #1 to 'receive' (bad pattern argument)\n\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := serveTCP(t, func(nc net.Conn) { _, _ = nc.Write([]byte(c.send)) })
			bed, scripts := newSocketBed(t, Options{}, `local s = ngx.socket.tcp()
				assert(s:connect("127.0.0.1", `+port+`))`+c.lua)
			got := bed.run(scripts[0])
			if i := strings.Index(got, "script0:"); i >= 0 {
				j := strings.IndexByte(got[i+8:], ':')
				got = got[:i+8] + "LINE" + got[i+8+j:]
			}
			if got != c.want {
				t.Errorf("got %q, want %q\n%s", got, c.want, bed.logged())
			}
		})
	}
}

func TestSocketSends(t *testing.T) {
	var got bytes.Buffer
	done := make(chan struct{})
	port := serveTCP(t, func(nc net.Conn) { _, _ = io.Copy(&got, nc); close(done) })
	bed, scripts := newSocketBed(t, Options{}, `local s = ngx.socket.connect("127.0.0.1", `+port+`)
		ngx.say(s:send("a"), s:send({"b", {1, 2.5}, {}}), s:send(nil), s:send(true), s:send(3))
		ngx.say(pcall(s.send, s, {true})) ngx.say(s:send(""))
		ngx.say(s:close()) ngx.say(s:close()) ngx.say(s:send("x"))`)
	want := "15341\nfalsebad argument #2 to '?' (bad data type boolean found)\n0\n1\nnilclosed\nnilclosed\n"
	if out := bed.run(scripts[0]); out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	<-done
	if got.String() != "ab12.5niltrue3" {
		t.Errorf("sent %q", got.String())
	}
	if !strings.Contains(bed.logged(), "[4] attempt to send data on a closed socket: u:") {
		t.Errorf("log: %s", bed.logged())
	}
}

// What cannot go at once waits until the peer takes it.
func TestSocketSendWaits(t *testing.T) {
	const size = 8 << 20
	sum := make(chan int)
	port := serveTCP(t, func(nc net.Conn) {
		time.Sleep(50 * time.Millisecond)
		n, _ := io.Copy(io.Discard, nc)
		sum <- int(n)
	})
	bed, scripts := newSocketBed(t, Options{}, fmt.Sprintf(`local s = ngx.socket.connect("127.0.0.1", %s)
		local text = ("x"):rep(%d)
		ngx.print(s:send(text), " ", s:send({text, text}))`, port, size))
	if got, want := bed.run(scripts[0]), fmt.Sprint(size, " ", 2*size); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := <-sum; n != 3*size {
		t.Errorf("%d bytes came", n)
	}
}

// receiveuntil against what it is to mean, over random texts of few letters and
// reads that end anywhere.
func TestReceiveUntilModel(t *testing.T) {
	port := serveTCP(t, func(nc net.Conn) { _, _ = io.Copy(nc, nc) })
	settings := NewSocketSettings(SocketOptions{BufferSize: 64})
	bed, scripts := newSocketBed(t, Options{Sockets: settings, CPUBudget: time.Minute}, `
local s = ngx.socket.connect("127.0.0.1", `+port+`)
math.randomseed(7)
local rand = math.random
local function letters(n, kinds)
  local t = {}
  for i = 1, n do t[i] = string.char(96 + rand(kinds)) end
  return table.concat(t)
end
for case = 1, 3000 do
  local kinds = rand(3)
  local pattern = letters(rand(9), kinds)
  local text = letters(rand(0, 200), kinds) .. pattern .. letters(rand(0, 20), kinds)
  local size = rand(4) > 1 and rand(12) or nil
  local inclusive = rand(2) == 1
  local from, to = text:find(pattern, 1, true)
  local want = text:sub(1, inclusive and to or from - 1)
  assert(s:send(text))
  local reader = s:receiveuntil(pattern, {inclusive = inclusive})
  local pieces = {}
  if size then
    while true do
      local piece, err, part = reader(size)
      if not piece then
        assert(not err and not part, err)
        break
      end
      pieces[#pieces + 1] = piece
    end
    for i = 1, #pieces - 1 do
      assert(#pieces[i] >= size and #pieces[i] < size + #pattern, case)
    end
  else
    pieces[1] = assert(reader())
  end
  local got = table.concat(pieces)
  local rest = #text - to
  local tail = rest > 0 and s:receive(rest) or ""
  if got ~= want or tail ~= text:sub(to + 1) then
    error(("case %d: %q in %q, size %s, inclusive %s: got %q, then %q"):format(case, pattern, text, tostring(size), tostring(inclusive), got, tail))
  end
end
ngx.print("ok")`)
	if got := bed.run(scripts[0]); got != "ok" {
		t.Errorf("got %q", got)
	}
}
