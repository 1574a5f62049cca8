package main

import (
	"embed"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/valyala/fasthttp"

	"perigee/proxy/config"
)

//go:embed demo
var demoFiles embed.FS

// demo serves the demo's configuration with an origin in the same process.
func demo(args []string, out, errs io.Writer) int {
	flags := newFlags("demo", errs)
	path := flags.String("c", "", "a configuration `FILE` to serve in place of the built-in one")
	at := flags.String("origin", "127.0.0.1:9001", "the `ADDRESS` of the origin; the built-in configuration expects the default")
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
	ln, err := net.Listen("tcp", *at)
	if err != nil {
		fmt.Fprintln(errs, "demo origin:", err)
		return exitFailed
	}
	defer ln.Close()
	go func() { _ = fasthttp.Serve(ln, echo) }()
	p, err := start(file, origin{load: load})
	if err != nil {
		fmt.Fprintln(errs, err)
		return exitFailed
	}
	fmt.Fprintf(out, "perigee demo: listeners %s, admin %s, origin %s\n", addresses(file), file.Admin.Address, *at)
	return p.wait()
}

// addresses are the listeners of a configuration, for people.
func addresses(file *config.File) string {
	all := make([]string, len(file.Listeners))
	for i, l := range file.Listeners {
		all[i] = l.Address
	}
	return strings.Join(all, ", ")
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

// echo answers with what it was asked, so that the gateway's work shows.
func echo(ctx *fasthttp.RequestCtx) {
	ctx.SetContentType("text/plain")
	fmt.Fprintf(ctx, "%s %s\n", ctx.Method(), ctx.RequestURI())
	for name, value := range ctx.Request.Header.All() {
		fmt.Fprintf(ctx, "%s: %s\n", name, value)
	}
	if body := ctx.PostBody(); len(body) > 0 {
		fmt.Fprintf(ctx, "\n%s", body)
	}
}
