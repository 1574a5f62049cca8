package proxy_test

import (
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"perigee/proxy/proxytest"
)

// bare are sockets whose memory is the kernel's alone.
type bare struct {
	t   *testing.T
	fds []int
}

func (b *bare) check(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bare) socket() int {
	b.t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	b.check(err)
	b.keep(fd)
	return fd
}

// keep bounds the waits of a socket and closes it at the test's end.
func (b *bare) keep(fd int) {
	b.t.Helper()
	b.fds = append(b.fds, fd)
	b.check(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 60}))
}

func (b *bare) close() {
	for _, fd := range b.fds {
		unix.Close(fd)
	}
}

// listen makes a socket that queues so many connections.
func (b *bare) listen(queue int) (fd int, addr string) {
	b.t.Helper()
	fd = b.socket()
	b.check(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	b.check(unix.Listen(fd, queue))
	at, err := unix.Getsockname(fd)
	b.check(err)
	in := at.(*unix.SockaddrInet4)
	return fd, netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port)).String()
}

func (b *bare) connect(addr string) (fd int) {
	b.t.Helper()
	fd = b.socket()
	ap := netip.MustParseAddrPort(addr)
	b.check(unix.Connect(fd, &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}))
	return fd
}

// accept takes a connection; a signal may come first.
func (b *bare) accept(from int) int {
	b.t.Helper()
	for {
		fd, _, err := unix.Accept4(from, unix.SOCK_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		b.check(err)
		b.keep(fd)
		return fd
	}
}

func (b *bare) write(fd int, text string) {
	b.t.Helper()
	_, err := unix.Write(fd, []byte(text))
	b.check(err)
}

// read reads once; what comes must end so.
func (b *bare) read(fd int, end string) {
	b.t.Helper()
	var data [4096]byte
	for {
		n, err := unix.Read(fd, data[:])
		if err == unix.EINTR {
			continue
		}
		b.check(err)
		if !strings.HasSuffix(string(data[:n]), end) {
			b.t.Fatalf("%q", data[:n])
		}
		return
	}
}

// heapAfterGC is the memory of all that is in use.
func heapAfterGC() int64 {
	runtime.GC()
	runtime.GC() // what pools held before is gone
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// An exchange that waits for its endpoint holds little beside what it has to
// know: an origin that is slow makes thousands of them wait.
func TestWaitingExchangeIsSmall(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	if os.Getenv("PERIGEE_DRIVER") == "goroutine" {
		t.Skip("its goroutines have stacks")
	}
	for _, c := range []struct {
		name, headers string
		most          int64
	}{
		{"short head", "", 7800},
		{"browser's head", "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
			"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n" +
			"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n" +
			"Cookie: session=" + strings.Repeat("0123456789abcdef", 20) + "\r\n" +
			"Upgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n", 8100},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bare{t: t}
			defer b.close()
			const n = 1000
			origin, addr := b.listen(n)
			g := proxytest.Start(t, "workers: 1\n"+strings.NewReplacer(
				`"127.0.0.1:0"`, `"127.0.0.1:0", driver: loop`,
				"timeouts: {response: 500ms}", "keepalive: {idle: 1000}, timeouts: {response: 10m}",
			).Replace(configText(addr, proxyAll)))
			request := "GET /slow HTTP/1.1\r\nHost: a.test\r\n" + c.headers + "\r\n"
			const answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: no-cache\r\nContent-Length: 3\r\n\r\nok\n"
			var clients, asked [n]int
			before := heapAfterGC()
			for i := range n {
				clients[i] = b.connect(g.Addr)
			}
			// The second time on, everything has been used before.
			for round := range 3 {
				for _, fd := range clients {
					b.write(fd, request)
				}
				for i := range asked {
					if round == 0 {
						asked[i] = b.accept(origin)
					}
					b.read(asked[i], "\r\n\r\n")
				}
				if round == 2 {
					break
				}
				for _, fd := range asked {
					b.write(fd, answer)
				}
				for _, fd := range clients {
					b.read(fd, "ok\n")
				}
			}
			each := (heapAfterGC() - before) / n
			t.Logf("%d bytes", each)
			if each > c.most {
				t.Errorf("a waiting exchange takes %d bytes, want at most %d", each, c.most)
			}
		})
	}
}
