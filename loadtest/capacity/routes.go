package main

import (
	"fmt"
	"strings"
)

// manyRoutesTotal is the number of routes that must not cost more than one.
const manyRoutesTotal = 1000

// lastPath is the path of the last route.
const lastPath = "/p7/"

// lastHost is the host of the last of n routes.
func lastHost(n int) string { return fmt.Sprintf("h%d.example.com", n/10-1) }

// configHead is what the configurations have in common.
func configHead(loops int) string {
	return fmt.Sprintf("workers: %d\naccess_log: {format: \"off\"}\nlisteners: [{address: %q}]\nadmin: {address: %q}\nupstreams: {origin: {endpoints: [%q]}}\nroutes:\n",
		loops, gatewayAddr, adminAddr, originAddr)
}

// oneRoute is a configuration with one route, which takes path.
func oneRoute(loops int, host, path string) string {
	return configHead(loops) + fmt.Sprintf("  - {name: one, match: {hosts: [%q], paths: [%q]}, proxy: {path: /}, upstream: origin}\n", host, "^~ "+path)
}

// everyRoute is a configuration with n routes: ten for each of n/10 hosts, a
// regular expression, an exact path and eight prefixes. What is asked for is the
// last; no ^~ keeps it from the regular expression.
func everyRoute(n int) string {
	var b strings.Builder
	b.WriteString(configHead(1))
	for h := range n / 10 {
		host := lastHost(10 * (h + 1))
		fmt.Fprintf(&b, "  - {name: h%d-re, match: {hosts: [%q], paths: ['~ ^/img/([a-z]+)-[0-9]+\\.png$']}, upstream: origin}\n", h, host)
		route := func(name, path string) {
			fmt.Fprintf(&b, "  - {name: h%d-%s, match: {hosts: [%q], paths: [%q]}, proxy: {path: /}, upstream: origin}\n", h, name, host, path)
		}
		route("exact", "= /login")
		for i := range 8 {
			route(fmt.Sprint(i), fmt.Sprintf("/p%d/", i))
		}
	}
	return b.String()
}

// manyRoutes is a configuration with n routes of one host; the last one is asked
// for.
func manyRoutes(loops, n int) string {
	var b strings.Builder
	b.WriteString(configHead(loops))
	for i := range n {
		fmt.Fprintf(&b, "  - {name: r%d, match: {paths: [\"/r%d/\"]}, proxy: {path: /}, upstream: origin}\n", i, i)
	}
	return b.String()
}

// withScripts is a configuration whose route has the first n of five scripts.
func withScripts(n int) string {
	scripts := [...]string{
		`access: "if ngx.var.arg_no then return ngx.exit(403) end"`,
		`header_filter: "ngx.header['X-Gateway'] = 'one'"`,
		`rewrite: "ngx.req.set_header('X-Visit', ngx.var.request_id)"`,
		`log: "ngx.ctx.status = ngx.status"`,
		`body_filter: "ngx.ctx.size = (ngx.ctx.size or 0) + #ngx.arg[1]"`,
	}
	return configHead(0) + fmt.Sprintf("  - {name: one, match: {paths: [/]}, lua: {%s}, upstream: origin}\n", strings.Join(scripts[:n], ", "))
}
