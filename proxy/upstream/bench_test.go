package upstream

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/valyala/fasthttp"

	"perigee/proctest"
	"perigee/proxy/wire"
)

const plainAnswer = "HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: text/plain\r\nContent-Length: 128\r\n\r\n"

// benchOrigin runs the origin in a process of its own, so that the benchmarks
// measure the client's CPU alone.
func benchOrigin(b *testing.B) string {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestOriginProcess$")
	cmd.Env = append(os.Environ(), "UPSTREAM_TEST_ORIGIN=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	proctest.Start(b, cmd)
	b.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(address)
}

// TestOriginProcess is benchOrigin's process; it ends with its standard input.
func TestOriginProcess(t *testing.T) {
	if os.Getenv("UPSTREAM_TEST_ORIGIN") == "" {
		return
	}
	os.Stdout.WriteString(origin(t, rawAnswering(plainAnswer+strings.Repeat("x", 128))) + "\n")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// rawAnswering is answering for one request per read, without allocations.
func rawAnswering(response string) func(c *net.TCPConn) {
	return func(c *net.TCPConn) {
		buf, answer := make([]byte, 4<<10), []byte(response)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	}
}

// cpu reports the process's CPU time per operation, origin included.
func cpu(b *testing.B, run func()) {
	var before, after syscall.Rusage
	b.ReportAllocs()
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	run()
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	spent := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(spent)/float64(b.N), "cpu-ns/op")
}

// parallel runs one from 32 goroutines; done once per operation.
func parallel(b *testing.B, worker func() (one func())) {
	b.SetParallelism(16)
	cpu(b, func() {
		b.RunParallel(func(pb *testing.PB) {
			one := worker()
			for pb.Next() {
				one()
			}
		})
	})
}

func BenchmarkExchange(b *testing.B) {
	g := group(b, testConfig(benchOrigin(b)))
	head := []byte("GET / HTTP/1.1\r\nHost: origin\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")
	parallel(b, func() func() {
		var res wire.ResponseHead
		return func() {
			if err := discard(g, head, &res); err != nil {
				b.Error(err)
			}
		}
	})
}

// discard makes one exchange and drops the answer.
func discard(g *Group, head []byte, res *wire.ResponseHead) error {
	var tried Tried
	c, _, err := g.Pick(&tried).Acquire(testTimeouts)
	if err != nil {
		return err
	}
	c.WriteLast(head, nil, nil)
	_, err = c.ReadHead(res, wire.AskedOther)
	for err == nil {
		_, err = c.NextBody()
	}
	if err != io.EOF {
		c.Release(Abandoned)
		return err
	}
	c.Release(Finished)
	return nil
}

// BenchmarkHostClient is the same through fasthttp's client, for comparison.
func BenchmarkHostClient(b *testing.B) {
	hc := &fasthttp.HostClient{Addr: benchOrigin(b), DisablePathNormalizing: true}
	parallel(b, func() func() {
		var req fasthttp.Request
		var res fasthttp.Response
		req.SetRequestURI("http://origin/")
		req.Header.DisableNormalizing()
		req.Header.Set("User-Agent", "bench")
		req.Header.Set("Accept", "*/*")
		return func() {
			if err := hc.DoTimeout(&req, &res, testTimeouts.Response); err != nil {
				b.Error(err)
			}
		}
	})
}
