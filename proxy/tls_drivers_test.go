package proxy_test

import (
	"crypto/tls"
	"fmt"
	"math/rand"
	"net"
	"testing"
	"time"

	"perigee/proxy/wire/testdata"
)

// tlsListener is what makes a listener of driversGateway TLS.
func tlsListener(t testing.TB) string {
	dir := t.TempDir()
	selfSigned(t, dir, "drivers.test")
	return fmt.Sprintf(", tls: {certificates: [{cert: %[1]s/drivers.test.crt, key: %[1]s/drivers.test.key}]}", dir)
}

// ripper sends what it is given in pieces that fit no record.
type ripper struct {
	net.Conn
	random *rand.Rand
}

func (r *ripper) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		size := min(len(p), 1+r.random.Intn(1<<r.random.Intn(15)))
		var sent int
		sent, err = r.Conn.Write(p[:size])
		n, p = n+sent, p[size:]
		if r.random.Intn(20) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	return n, err
}

// dialTLS connects by TLS; random rips what is sent, if given.
func dialTLS(t testing.TB, addr string, random *rand.Rand, config *tls.Config) *tls.Conn {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.SetDeadline(time.Now().Add(60 * time.Second))
	if random != nil {
		nc = &ripper{nc, random}
	}
	config.InsecureSkipVerify = true
	c := tls.Client(nc, config)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c
}

// agreeTLS is agree over TLS: each piece is a record, and the records are cut
// once more.
func agreeTLS(t testing.TB, at bothDrivers, stream, cuts []byte, seed int64) {
	version := uint16(tls.VersionTLS12 + seed&1)
	secure := func(addr string) string {
		config := &tls.Config{MinVersion: version, MaxVersion: version}
		return saidTo(t, dialTLS(t, addr, rand.New(rand.NewSource(seed)), config), stream, cuts)
	}
	a, b := secure(at.loop), secure(at.goroutine)
	if a != b {
		t.Errorf("stream %.600q in pieces %v, seed %d:\nloop      %.900q\ngoroutine %.900q", stream, cuts, seed, a, b)
	}
}

func TestDriversAgreeOverTLS(t *testing.T) {
	at := driversGateway(t, tlsListener(t))
	random := rand.New(rand.NewSource(time.Now().UnixNano()))
	streams := randomStreams(random)
	for _, file := range []string{"heads.txt", "bodies.txt", "endtoend.txt"} {
		cases, err := testdata.Read(file)
		if err != nil {
			t.Fatal(err)
		}
		for i := range cases {
			streams = append(streams, append(cases[i].Sent(), lastRequest...))
		}
	}
	lanes := make(chan struct{}, 8)
	for i, stream := range streams {
		cuts, seed := make([]byte, random.Intn(40)), random.Int63()
		_, _ = random.Read(cuts)
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			lanes <- struct{}{}
			defer func() { <-lanes }()
			agreeTLS(t, at, stream, cuts, seed)
		})
	}
}

func FuzzDriversAgreeOverTLS(f *testing.F) {
	at := driversGateway(f, tlsListener(f))
	for i, r := range requests {
		if len(r) < 1000 {
			f.Add([]byte(r+requests[(i+1)%8]), []byte{3, 200, 7, 1}, int64(i))
		}
	}
	f.Fuzz(func(t *testing.T, stream, cuts []byte, seed int64) {
		if len(stream) > 20000 || len(cuts) > 200 {
			t.Skip()
		}
		agreeTLS(t, at, append([]byte(string(stream)), lastRequest...), cuts, seed)
	})
}
