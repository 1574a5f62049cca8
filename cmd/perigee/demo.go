package main

import (
	"embed"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/valyala/fasthttp"

	"perigee/proxy/config"
)

//go:embed demo
var demoFiles embed.FS

// originAddress is where the demo's origin listens; demo.yaml has it too.
const originAddress = "127.0.0.1:9001"

// demo serves the demo's configuration with an origin in the same process.
func demo(args []string, out, errs io.Writer) int {
	flags := newFlags("demo", errs)
	path := flags.String("c", "", "a configuration `FILE` to serve in place of the built-in one")
	if flags.Parse(args) != nil || flags.NArg() > 0 {
		flags.Usage()
		return exitUsage
	}
	load := func() (*config.File, error) { return config.Load(*path) }
	if *path == "" {
		load = loadDemo
	}
	file, err := load()
	if err != nil {
		fmt.Fprintln(errs, err)
		return exitFailed
	}
	ln, err := net.Listen("tcp", originAddress)
	if err != nil {
		fmt.Fprintln(errs, "demo origin:", err)
		return exitFailed
	}
	defer ln.Close()
	go func() { _ = fasthttp.Serve(ln, origin) }()
	p, err := start(file, load)
	if err != nil {
		fmt.Fprintln(errs, err)
		return exitFailed
	}
	fmt.Fprintln(out, "perigee demo: http://127.0.0.1:8080, admin http://127.0.0.1:9901, origin "+originAddress)
	return p.wait()
}

// loadDemo reads the built-in demo. Its scripts are unpacked, because a script's
// file name stands in its error messages.
func loadDemo() (*config.File, error) {
	dir, err := os.MkdirTemp("", "perigee-demo-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, demoFiles); err != nil {
		return nil, err
	}
	return config.Load(filepath.Join(dir, "demo", "demo.yaml"))
}

// origin answers with what it was asked, so that the gateway's work shows.
func origin(ctx *fasthttp.RequestCtx) {
	ctx.SetContentType("text/plain")
	fmt.Fprintf(ctx, "%s %s\n", ctx.Method(), ctx.RequestURI())
	for name, value := range ctx.Request.Header.All() {
		fmt.Fprintf(ctx, "%s: %s\n", name, value)
	}
	if body := ctx.PostBody(); len(body) > 0 {
		fmt.Fprintf(ctx, "\n%s", body)
	}
}
