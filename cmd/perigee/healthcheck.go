package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// healthcheck asks a URL and exits 0 when the answer is 2xx, else 1: a probe for
// images that have no curl in them.
func healthcheck(args []string, out, errs io.Writer) int {
	flags := newFlags("healthcheck", errs)
	timeout := flags.Duration("timeout", 2*time.Second, "how `LONG` the whole answer may take")
	if flags.Parse(args) != nil || flags.NArg() > 1 || *timeout <= 0 {
		flags.Usage()
		return exitUsage
	}
	url := "http://127.0.0.1:9901/readyz"
	if flags.NArg() == 1 {
		url = flags.Arg(0)
	}
	status, body, err := probe(url, *timeout)
	switch {
	case err != nil:
		fmt.Fprintf(errs, "unhealthy: %v\n", err)
	case status < 200 || status > 299:
		fmt.Fprintf(errs, "unhealthy: %s answers %d: %s\n", url, status, strings.TrimSpace(body))
	default:
		fmt.Fprintf(out, "healthy: %s answers %d\n", url, status)
		return exitOK
	}
	return exitFailed
}

// mostBody is how much of an answer is read.
const mostBody = 4 << 10

// probe asks a URL. It follows no redirection and uses no proxy: what answers
// must be what was named.
func probe(url string, timeout time.Duration) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	client := http.Client{
		Transport:     &http.Transport{DialContext: new(net.Dialer).DialContext, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, mostBody))
	return res.StatusCode, string(text), err
}
