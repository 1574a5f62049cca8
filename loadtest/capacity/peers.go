package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// peer is a program that proxies to the origin: any path, or 1,000 routes by prefix
// which it takes off the path. What all have in common: two workers or threads, one
// pool of connections to the origin, keep-alive on both sides, no access log, room
// for the idle connections. All else is as the program has it.
type peer struct {
	name    string
	program string // a path, or found in PATH
	file    string // of the configuration
	// arguments name the configuration, which lies in dir.
	arguments func(dir, config string) []string
	// config has room for so many idle connections; routes 0 is any path.
	config func(idle, routes int) string
}

// memoryPeers begins with the gateway, whose bounds are checked.
func memoryPeers() []peer {
	return []peer{
		{
			name: "perigee", program: "bin/perigee", file: "perigee.yaml",
			arguments: func(_, config string) []string { return []string{"run", "-c", config} },
			config: func(_, routes int) string {
				if routes == 0 {
					return oneRoute(2, "127.0.0.1", "/")
				}
				return manyRoutes(2, routes)
			},
		},
		{
			name: "nginx", program: "nginx", file: "nginx.conf",
			arguments: func(dir, config string) []string { return []string{"-p", dir, "-c", config, "-e", "stderr"} },
			config:    nginxConfig,
		},
		{
			name: "haproxy", program: "haproxy", file: "haproxy.cfg",
			arguments: func(_, config string) []string { return []string{"-db", "-f", config} },
			config:    haproxyConfig,
		},
	}
}

func (p peer) command(dir string) *exec.Cmd {
	return exec.Command(p.program, p.arguments(dir, filepath.Join(dir, p.file))...)
}

// nginxConfig spreads connections evenly over the workers (reuseport), since nginx
// takes memory for worker_connections at its start: a tenth more than half is enough,
// and the least that an operator can give.
func nginxConfig(idle, routes int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `daemon off; pid nginx.pid; worker_processes 2; worker_rlimit_nofile %d;
error_log stderr error;
events { worker_connections %d; }
http {
  access_log off; keepalive_timeout 10m; keepalive_requests 1000000;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  upstream origin { server %s; keepalive 64; }
  proxy_http_version 1.1; proxy_set_header Connection "";
  server {
    listen %s reuseport;
`, idle+2000, idle/2+idle/10+512, originAddr, gatewayAddr)
	if routes == 0 {
		b.WriteString("    location / { proxy_pass http://origin; }\n")
	}
	for i := range routes {
		fmt.Fprintf(&b, "    location /r%d/ { proxy_pass http://origin/; }\n", i)
	}
	return b.String() + "  }\n}\n"
}

// haproxyConfig has a rule for each route and one backend, as the others have one
// upstream. haproxy wants two descriptors for each of maxconn, which idle clients do
// not need: hence no strict-limits.
func haproxyConfig(idle, routes int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `global
  nbthread 2
  maxconn %d
  no strict-limits
defaults
  mode http
  timeout connect 1s
  timeout client 10m
  timeout http-keep-alive 10m
  timeout server 10s
backend origin
  server origin %s
  http-request replace-path ^/r[0-9]+/(.*)$ /\1
frontend clients
  bind %s
`, idle+512, originAddr, gatewayAddr)
	if routes == 0 {
		b.WriteString("  default_backend origin\n")
	}
	for i := range routes {
		fmt.Fprintf(&b, "  use_backend origin if { path_beg /r%d/ }\n", i)
	}
	return b.String()
}
