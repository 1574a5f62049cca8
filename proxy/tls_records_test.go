package proxy_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// recordClient sends records of its own under the keys that crypto/tls has
// agreed on with the gateway, whose records are read as usual (TLS 1.3, RFC 8446
// §5 and §7).
type recordClient struct {
	*tls.Conn
	raw    net.Conn
	aead   cipher.AEAD
	secret []byte
	iv     []byte
	number uint64
}

const (
	alertRecord     = 21
	handshakeRecord = 22
	dataRecord      = 23
)

func newRecordClient(t testing.TB, addr string) *recordClient {
	t.Helper()
	var keys bytes.Buffer
	c := dialTLS(t, addr, nil, &tls.Config{MinVersion: tls.VersionTLS13, KeyLogWriter: &keys})
	t.Cleanup(func() { _ = c.Close() })
	if suite := c.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skipf("suite %s: this machine has no AES", tls.CipherSuiteName(suite))
	}
	r := &recordClient{Conn: c, raw: c.NetConn()}
	for line := range strings.Lines(keys.String()) {
		if f := strings.Fields(line); f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			r.secret, _ = hex.DecodeString(f[2])
		}
	}
	r.use(t)
	return r
}

// use takes the keys that the secret gives.
func (r *recordClient) use(t testing.TB) {
	block, err := aes.NewCipher(expandLabel(t, r.secret, "key", 16))
	if err != nil {
		t.Fatal(err)
	}
	if r.aead, err = cipher.NewGCM(block); err != nil {
		t.Fatal(err)
	}
	r.iv, r.number = expandLabel(t, r.secret, "iv", 12), 0
}

func expandLabel(t testing.TB, secret []byte, label string, n int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(append(append(info, byte(len(label)+6)), "tls13 "+label...), 0)
	b, err := hkdf.Expand(sha256.New, secret, string(info), n)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// record seals one record.
func (r *recordClient) record(kind byte, payload string) []byte {
	inner := append([]byte(payload), kind)
	head := binary.BigEndian.AppendUint16([]byte{dataRecord, 3, 3}, uint16(len(inner)+r.aead.Overhead()))
	nonce := bytes.Clone(r.iv)
	for i := range 8 {
		nonce[11-i] ^= byte(r.number >> (8 * i))
	}
	r.number++
	return r.aead.Seal(head, nonce, inner, head)
}

func (r *recordClient) data(payload string) []byte { return r.record(dataRecord, payload) }

// update asks for new keys and goes on with new ones.
func (r *recordClient) update(t testing.TB) []byte {
	b := r.record(handshakeRecord, "\x18\x00\x00\x01\x01")
	r.secret = expandLabel(t, r.secret, "traffic upd", sha256.Size)
	r.use(t)
	return b
}

// send sends records; who does not take them any more has said why.
func (r *recordClient) send(records ...[]byte) { _, _ = r.raw.Write(bytes.Join(records, nil)) }

// outcome is the status line of what the gateway answers, or how the connection
// ends without an answer.
func (r *recordClient) outcome() string {
	var b [12]byte
	n, err := io.ReadFull(r, b[:])
	if n == len(b) {
		return string(b[9:])
	}
	return err.Error()
}

// TestHostileRecords sends both drivers what a well-behaved client would not.
func TestHostileRecords(t *testing.T) {
	at := driversGateway(t, tlsListener(t))
	const get, post = "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345"
	for _, c := range []struct {
		name string
		send func(t *testing.T, r *recordClient)
		want string // "": the end, in whatever way
	}{
		{"one byte a record", func(t *testing.T, r *recordClient) {
			for i := range get {
				r.send(r.data(get[i : i+1]))
			}
		}, "200"},
		{"one byte a packet", func(t *testing.T, r *recordClient) {
			for _, b := range r.data(get) {
				r.send([]byte{b})
			}
		}, "200"},
		{"some records are empty", func(t *testing.T, r *recordClient) {
			r.send(r.data(""), r.data(get[:5]), r.data(""), r.data(""), r.data(get[5:]))
		}, "200"},
		{"empty records without end", func(t *testing.T, r *recordClient) {
			for range 1000 {
				r.send(r.data(""))
			}
		}, ""},
		{"keys change within a head", func(t *testing.T, r *recordClient) {
			r.send(r.data(get[:9]), r.update(t), r.data(get[9:12]))
			r.send(r.update(t))
			r.send(r.data(get[12:]))
		}, "200"},
		{"keys change in halves", func(t *testing.T, r *recordClient) {
			b := r.update(t)
			r.send(b[:7])
			time.Sleep(10 * time.Millisecond)
			r.send(b[7:], r.data(get))
		}, "200"},
		{"keys change without end", func(t *testing.T, r *recordClient) {
			for range 1000 {
				r.send(r.update(t))
			}
		}, ""},
		{"tampered", func(t *testing.T, r *recordClient) {
			b := r.data(get)
			b[len(b)-1]++
			r.send(b)
		}, "remote error: tls: bad record MAC"},
		{"too long", func(t *testing.T, r *recordClient) {
			r.send([]byte{dataRecord, 3, 3, 0x50, 0})
		}, "remote error: tls: record overflow"},
		{"a new handshake", func(t *testing.T, r *recordClient) {
			r.send(r.record(handshakeRecord, "\x01\x00\x00\x00"))
		}, "remote error: tls: error decoding message"},
		{"cleartext", func(t *testing.T, r *recordClient) { r.send([]byte(get[:5])) }, "remote error: tls: protocol version not supported"},
		{"close_notify within a head", func(t *testing.T, r *recordClient) {
			r.send(r.data(get[:9]), r.record(alertRecord, "\x01\x00"))
		}, "EOF"},
		{"close_notify behind a request", func(t *testing.T, r *recordClient) {
			r.send(r.data(get), r.record(alertRecord, "\x01\x00"))
		}, "200"},
		{"close_notify within a body", func(t *testing.T, r *recordClient) {
			r.send(r.data(post), r.record(alertRecord, "\x01\x00"))
		}, "400"},
		{"a fatal alert", func(t *testing.T, r *recordClient) { r.send(r.record(alertRecord, "\x02\x50")) }, "EOF"},
	} {
		for driver, addr := range map[string]string{"loop": at.loop, "goroutine": at.goroutine} {
			t.Run(c.name+"/"+driver, func(t *testing.T) {
				t.Parallel()
				r := newRecordClient(t, addr)
				c.send(t, r)
				switch got := r.outcome(); {
				case c.want == "" && strings.Trim(got, "0123456789") == "": // "EOF" is no answer
					t.Errorf("answered %s", got)
				case c.want != "" && got != c.want:
					t.Errorf("%q, want %q", got, c.want)
				}
			})
		}
	}
}

// TestDrippingRecords: part of a record that comes is no reason to wait longer.
func TestDrippingRecords(t *testing.T) {
	at := driversGateway(t, tlsListener(t))
	for _, c := range []struct{ name, first, want string }{
		{"before the first request", "", "EOF"},
		{"between requests", "GET /fixed HTTP/1.1\r\nHost: a\r\n\r\n", "EOF"},
		{"within a head", "GET / HTTP/1.1\r\nHo", "408"},
		{"within a body", "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 70\r\n\r\n1234", "EOF"},
		{"within a body that is pumped", "POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 70\r\n\r\n1234", "408"},
	} {
		for driver, addr := range map[string]string{"loop": at.loop, "goroutine": at.goroutine} {
			t.Run(c.name+"/"+driver, func(t *testing.T) {
				t.Parallel()
				r := newRecordClient(t, addr)
				if c.first != "" {
					r.send(r.data(c.first))
				}
				if strings.HasSuffix(c.first, "\r\n\r\n") {
					if got := r.outcome(); got != "203" {
						t.Fatal(got)
					}
				}
				stop := make(chan struct{})
				defer close(stop)
				_ = r.SetDeadline(time.Now().Add(60 * time.Second))
				go func() {
					for _, b := range r.data(strings.Repeat("x", 16000)) {
						select {
						case <-stop:
							return
						case <-time.After(50 * time.Millisecond):
							r.send([]byte{b})
						}
					}
				}()
				if c.want == "EOF" {
					if rest, err := io.ReadAll(r); err != nil && !strings.Contains(err.Error(), "reset") {
						t.Errorf("%v behind %q", err, rest)
					}
				} else if got := r.outcome(); got != c.want {
					t.Errorf("%q, want %q", got, c.want)
				}
			})
		}
	}
}
