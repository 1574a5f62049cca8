package observe

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var syslogMessage = regexp.MustCompile(`^<190>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \S+ perigee \d+ - - (.*)$`)

// received takes messages of a receiver apart.
func received(t *testing.T, messages []string) (lines []string) {
	t.Helper()
	for _, m := range messages {
		found := syslogMessage.FindStringSubmatch(m)
		if found == nil {
			t.Fatalf("%q is no message of RFC 5424", m)
		}
		lines = append(lines, found[1])
	}
	return lines
}

func newSyslog(t *testing.T, address string) io.WriteCloser {
	t.Helper()
	w, err := NewSyslog(SyslogOptions{Address: address, Priority: 23*8 + 6, Tag: "perigee"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

// octets reads messages behind their lengths.
func octets(t *testing.T, r *bufio.Reader, n int) (messages []string) {
	t.Helper()
	for range n {
		length, err := r.ReadString(' ')
		if err != nil {
			t.Fatal(err)
		}
		size, err := strconv.Atoi(strings.TrimSpace(length))
		if err != nil {
			t.Fatal(err)
		}
		text := make([]byte, size)
		if _, err := io.ReadFull(r, text); err != nil {
			t.Fatal(err)
		}
		messages = append(messages, string(text))
	}
	return messages
}

func TestSyslogDatagrams(t *testing.T) {
	for _, network := range []string{"udp", "unixgram"} {
		t.Run(network, func(t *testing.T) {
			at := "127.0.0.1:0"
			if network == "unixgram" {
				at = filepath.Join(t.TempDir(), "log")
			}
			pc, err := net.ListenPacket(network, at)
			if err != nil {
				t.Fatal(err)
			}
			defer pc.Close()
			address := "udp://" + pc.LocalAddr().String()
			if network == "unixgram" {
				address = "unix://" + at
			}
			w := newSyslog(t, address)
			if n, err := w.Write([]byte("one\ntwo\n")); n != 8 || err != nil {
				t.Fatal(n, err)
			}
			var messages []string
			buf := make([]byte, 1024)
			for range 2 {
				_ = pc.SetReadDeadline(time.Now().Add(20 * time.Second))
				n, _, err := pc.ReadFrom(buf)
				if err != nil {
					t.Fatal(err)
				}
				messages = append(messages, string(buf[:n]))
			}
			if lines := received(t, messages); fmt.Sprint(lines) != "[one two]" {
				t.Errorf("lines %q", lines)
			}
		})
	}
}

func TestSyslogStreams(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			at := "127.0.0.1:0"
			if network == "unix" {
				at = filepath.Join(t.TempDir(), "log")
			}
			ln, err := net.Listen(network, at)
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			w := newSyslog(t, network+"://"+ln.Addr().String())
			if _, err := w.Write([]byte("one\ntwo\n\nthree\n")); err != nil {
				t.Fatal(err)
			}
			c, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(c)
			if lines := received(t, octets(t, r, 3)); fmt.Sprint(lines) != "[one two three]" {
				t.Errorf("lines %q", lines)
			}
			// The receiver ends: it is noticed, and connected to again.
			_ = c.Close()
			again := make(chan net.Conn, 1)
			go func() {
				if c, err := ln.Accept(); err == nil {
					again <- c
				}
			}()
			failed := false
			for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				if _, err := w.Write([]byte("more\n")); err != nil {
					failed = true
				} else if failed {
					break
				}
			}
			select {
			case c := <-again:
				if lines := received(t, octets(t, bufio.NewReader(c), 1)); lines[0] != "more" {
					t.Errorf("lines %q", lines)
				}
				_ = c.Close()
			case <-time.After(30 * time.Second):
				t.Error("nobody connected again")
			}
		})
	}
}

// TestSyslogGone holds that a log whose receiver is not there says so once, loses
// and counts its lines, and keeps nobody waiting.
func TestSyslogGone(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	_ = ln.Close()
	var dropped Counter
	reports := make(chan error, 10)
	l := newAccessLog(newSyslog(t, "tcp://"+address), "", AccessOptions{Dropped: &dropped, Report: func(err error) { reports <- err }})
	for range 100 {
		l.Append(func(line []byte) []byte { return append(line, "x\n"...) })
		time.Sleep(100 * time.Microsecond)
	}
	if err := l.Close(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	if len(reports) != 1 || dropped.Value() != 100 {
		t.Errorf("%d reports, %d lines lost of 100", len(reports), dropped.Value())
	}
}

func TestSyslogTargets(t *testing.T) {
	for address, ok := range map[string]bool{
		"udp://127.0.0.1:514": true, "tcp://[::1]:601": true, "unix:///dev/log": true,
		"udp://127.0.0.1": false, "http://a:1": false, "unix://dev/log": false, "/dev/log": false, "udp://a:1/x": false, "": false,
	} {
		if _, _, err := SyslogTarget(address); (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		}
	}
}
