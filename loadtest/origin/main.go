// Command origin is the server behind the gateway in load tests: the same
// request gets the same answer, byte for byte, on every machine and run, so
// that a script can check bodies and a difference is the gateway's.
//
//	GET  /              200, a fixed line of text
//	GET  /bytes/N       200, N bytes of a repeating pattern
//	GET  /delay/MS      200 after MS milliseconds
//	ANY  /echo          200, the request's head as text lines, then its body
//	ANY  /status/N      N, with the number as body
//	GET  /stream        200, chunked; ?chunks=N (10) lines, one each ?every=MS (100)
//
// Anything else is 404. It answers on loopback unless told otherwise.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

const (
	maxBytes  = 1 << 30
	maxDelay  = time.Minute
	maxChunks = 10_000
)

func main() {
	listen := flag.String("listen", "127.0.0.1:18081", "address to serve")
	flag.Parse()

	server := newServer()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-stop
		if err := server.Shutdown(); err != nil {
			fmt.Fprintln(os.Stderr, "origin: shutdown:", err)
		}
	}()
	if err := server.ListenAndServe(*listen); err != nil {
		fmt.Fprintf(os.Stderr, "origin: serve %s: %v\n", *listen, err)
		os.Exit(1)
	}
}

// newServer leaves out what differs between runs (Date) and what a body limit
// of its own would hide of the gateway's.
func newServer() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:            answer,
		Name:               "origin",
		NoDefaultDate:      true,
		MaxRequestBodySize: maxBytes,
		CloseOnShutdown:    true,
	}
}

func answer(ctx *fasthttp.RequestCtx) {
	path := string(ctx.Path())
	kind, argument, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	ctx.SetContentType("text/plain")
	var err error
	switch kind {
	case "":
		ctx.SetBodyString("hello from the origin\n")
	case "bytes":
		err = sendBytes(ctx, argument)
	case "delay":
		err = sendLate(ctx, argument)
	case "echo":
		echo(ctx)
	case "status":
		err = sendStatus(ctx, argument)
	case "stream":
		err = stream(ctx)
	default:
		ctx.Error("the origin knows /, /bytes/N, /delay/MS, /echo, /status/N and /stream\n", fasthttp.StatusNotFound)
	}
	if err != nil {
		ctx.Error(fmt.Sprintf("%s: %v\n", path, err), fasthttp.StatusBadRequest)
	}
}

// number reads a decimal number from low to high, both included.
func number(text string, low, high int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("%q is no number", text)
	}
	if n < low || n > high {
		return 0, fmt.Errorf("%d is not within %d and %d", n, low, high)
	}
	return n, nil
}

// A pattern repeats the alphabet, so that a byte tells its offset modulo 26 and
// a shifted or doubled buffer shows.
type pattern struct {
	offset, size int
}

// Read fills p with the next bytes of the pattern.
func (r *pattern) Read(p []byte) (int, error) {
	n := min(len(p), r.size-r.offset)
	for i := range p[:n] {
		p[i] = 'a' + byte((r.offset+i)%26)
	}
	r.offset += n
	if r.offset == r.size {
		return n, io.EOF
	}
	return n, nil
}

func sendBytes(ctx *fasthttp.RequestCtx, argument string) error {
	n, err := number(argument, 0, maxBytes)
	if err != nil {
		return err
	}
	ctx.SetContentType("application/octet-stream")
	ctx.SetBodyStream(&pattern{size: n}, n)
	return nil
}

func sendLate(ctx *fasthttp.RequestCtx, argument string) error {
	ms, err := number(argument, 0, int(maxDelay/time.Millisecond))
	if err != nil {
		return err
	}
	time.Sleep(time.Duration(ms) * time.Millisecond)
	fmt.Fprintf(ctx, "after %d ms\n", ms)
	return nil
}

func sendStatus(ctx *fasthttp.RequestCtx, argument string) error {
	code, err := number(argument, 200, 599)
	if err != nil {
		return err
	}
	ctx.SetStatusCode(code)
	fmt.Fprintf(ctx, "%d\n", code)
	return nil
}

// echo answers what arrived, in the order in which it arrived.
func echo(ctx *fasthttp.RequestCtx) {
	fmt.Fprintf(ctx, "%s %s\n", ctx.Method(), ctx.RequestURI())
	for name, value := range ctx.Request.Header.All() {
		fmt.Fprintf(ctx, "%s: %s\n", name, value)
	}
	fmt.Fprintf(ctx, "\n%s", ctx.PostBody())
}

func stream(ctx *fasthttp.RequestCtx) error {
	chunks, err := argument(ctx, "chunks", 10, maxChunks)
	if err != nil {
		return err
	}
	every, err := argument(ctx, "every", 100, int(maxDelay/time.Millisecond))
	if err != nil {
		return err
	}
	ctx.SetBodyStreamWriter(func(w *bufio.Writer) {
		for i := range chunks {
			if i > 0 {
				time.Sleep(time.Duration(every) * time.Millisecond)
			}
			fmt.Fprintf(w, "chunk %d of %d\n", i+1, chunks)
			if w.Flush() != nil {
				return // nobody listens any more
			}
		}
	})
	return nil
}

// argument reads a number from the query; absent is preset.
func argument(ctx *fasthttp.RequestCtx, name string, preset, high int) (int, error) {
	text := ctx.QueryArgs().Peek(name)
	if text == nil {
		return preset, nil
	}
	n, err := number(string(text), 0, high)
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return n, err
}
