package observe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"time"
)

// SyslogOptions says where syslog messages go and what they say of themselves.
type SyslogOptions struct {
	// Address is udp://host:port, tcp://host:port or unix:///path.
	Address string
	// Priority is facility * 8 + severity (RFC 5424 §6.2.1).
	Priority int
	// Tag is the application's name.
	Tag string
}

const (
	// syslogTime bounds connecting and each write.
	syslogTime = 2 * time.Second
	// syslogPause is how long a receiver that failed is left alone: lines are lost
	// meanwhile, and nobody waits.
	syslogPause = time.Second
)

// syslog writes lines as messages of RFC 5424: a datagram each, or in a stream
// behind their lengths (RFC 6587 §3.4.1).
type syslog struct {
	network, address string
	head             []byte // of each message, before and behind its time
	tail             []byte
	conn             net.Conn
	stream           bool
	failed           time.Time
	buf              []byte
}

// errPaused stands for the failure before it.
var errPaused = errors.New("the receiver has failed a moment ago")

// NewSyslog makes a writer of lines to a syslog receiver, which is connected to
// when there is something to write, and again after it failed. It is for one
// goroutine.
func NewSyslog(o SyslogOptions) (io.WriteCloser, error) {
	network, address, err := SyslogTarget(o.Address)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "-"
	}
	s := &syslog{network: network, address: address}
	s.head = fmt.Appendf(nil, "<%d>1 ", o.Priority)
	s.tail = fmt.Appendf(nil, " %s %s %d - - ", host, o.Tag, os.Getpid())
	return s, nil
}

// SyslogTarget reads the address of a receiver.
func SyslogTarget(text string) (network, address string, err error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", "", fmt.Errorf("address %q: %w", text, err)
	}
	switch {
	case (u.Scheme == "udp" || u.Scheme == "tcp") && u.Port() != "" && u.Path == "":
		return u.Scheme, u.Host, nil
	case u.Scheme == "unix" && u.Host == "" && u.Path != "":
		return u.Scheme, u.Path, nil
	}
	return "", "", fmt.Errorf("address %q is not udp://host:port, tcp://host:port or unix:///path", text)
}

// connect connects unless the last attempt has just failed.
func (s *syslog) connect() error {
	if s.conn != nil {
		return nil
	}
	if time.Since(s.failed) < syslogPause {
		return errPaused
	}
	network := s.network
	if network == "unix" {
		network = "unixgram" // what /dev/log is; else a stream
	}
	conn, err := net.DialTimeout(network, s.address, syslogTime)
	if err != nil && network == "unixgram" {
		network = "unix"
		conn, err = net.DialTimeout(network, s.address, syslogTime)
	}
	if err != nil {
		s.failed = time.Now()
		return err
	}
	s.conn, s.stream = conn, network == "tcp" || network == "unix"
	return nil
}

// Write sends lines. On an error n is the length of those that were sent.
func (s *syslog) Write(lines []byte) (n int, err error) {
	if err := s.connect(); err != nil {
		return 0, err
	}
	_ = s.conn.SetWriteDeadline(time.Now().Add(syslogTime))
	s.buf = s.buf[:0]
	for rest := lines; len(rest) > 0; {
		line, more, _ := bytes.Cut(rest, []byte{'\n'})
		if len(line) > 0 {
			if err := s.message(line); err != nil {
				return n, s.fail(err)
			}
		}
		rest = more
		if !s.stream {
			n = len(lines) - len(rest)
		}
	}
	if s.stream {
		if _, err := s.conn.Write(s.buf); err != nil {
			return 0, s.fail(err) // how many have arrived is not known
		}
	}
	return len(lines), nil
}

// message sends a line as a datagram, or adds it to what is sent.
func (s *syslog) message(line []byte) error {
	if !s.stream {
		s.buf = s.appendMessage(s.buf[:0], line)
		_, err := s.conn.Write(s.buf)
		return err
	}
	start := len(s.buf)
	s.buf = s.appendMessage(s.buf, line)
	length := strconv.Itoa(len(s.buf)-start) + " "
	s.buf = append(s.buf, length...)
	copy(s.buf[start+len(length):], s.buf[start:])
	copy(s.buf[start:], length)
	return nil
}

func (s *syslog) appendMessage(dst, line []byte) []byte {
	dst = append(dst, s.head...)
	dst = time.Now().UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000Z")
	dst = append(dst, s.tail...)
	return append(dst, line...)
}

func (s *syslog) fail(err error) error {
	_ = s.Close()
	s.failed = time.Now()
	return err
}

// Close ends the connection.
func (s *syslog) Close() error {
	if s.conn == nil {
		return nil
	}
	conn := s.conn
	s.conn = nil
	return conn.Close()
}
