// Package proxy is the gateway: it turns a configuration into a snapshot and
// moves exchanges through it.
//
// # One request, in order
//
//	 client
//	   |  bytes
//	   v
//	serve (driver)      scan the head strictly; exchange.Acquire
//	   |
//	   v
//	Gateway.Begin       take the current snapshot, once; read the target
//	   |
//	   v                                                   gateway.go
//	 match ------------ host, path, method ... -> Route; none -> 404
//	   v
//	 rewrite filters -- transform, script                  (may match again)
//	   v
//	 access filters --- auth, script
//	   v
//	 content filters -- respond, static, script                 (may answer)
//	   v                                                   forward.go
//	 short body -> endpoint -> connection -> send -> response head
//	   |              ^                                |
//	   |              +--------- retry <---------------+
//	   v                                                   answer.go
//	 header filters --- script, transform, compress, static; then framing is decided
//	   v
//	 +> next piece of body -> body filters (script) -> write --+
//	 +---------------------------------------------------------+
//	   v  the last byte has left, or the client is gone (499)
//	 log filters -> record -> metrics, access line -> release
//
// A step never blocks: it posts ops on the exchange and says so; the driver
// performs them and calls Gateway.Advance again, on any thread.
//
// # Words
//
//	exchange   one request and its response
//	route      what a request matched: filters, upstream or content, timeouts
//	filter     one feature's step on a route; runs at a stage
//	stage      rewrite, access, content, balancer, header, body, log
//	verdict    what a filter answers: continue, respond, wait, ...
//	driver     what moves exchanges along: packages loop and serve
//	op         what an exchange can wait for
//	snapshot   the immutable product of one configuration
//	state      what outlives a reload, by name
//
// # Map
//
//	proxy            gateway, forwarding, answers, snapshots, listeners
//	proxy/loop       the event loops: connections, framing, ops
//	proxy/serve      the goroutine driver, which does TLS handshakes
//	proxy/exchange   the exchange and the words of filters and drivers
//	proxy/mapping    variables that are looked up: maps
//	proxy/ip         who may ask, by address
//	proxy/auth       who asks, and whether they may
//	proxy/script     filters that run Lua; proxy/respond, proxy/static, proxy/transform, proxy/compress
//	proxy/limit      how often, counted by package ratelimit
//	proxy/route      host, path and predicates to a route
//	proxy/config     the YAML file, checked, with positions
//	proxy/upstream   endpoints, their connections, round robin
//	proxy/trace      trace context, spans and their way to a collector
//	proxy/observe    record, metrics, access log, process log
//	proxy/admin      the admin listener
//	proxy/luatest    Lua specs against gateways in memory: perigee test
//	proxy/wire       HTTP/1.1 framing, strict, for both directions
//	proxy/sockets    listening sockets, inherited and handed over
//	proxy/disk       files below a directory, and never outside
//	proxy/unit       scalar types of the configuration
//	luavm            LuaJIT in the process; knows no HTTP
//	luavm/socket     sockets with fewer steps than net.Conn; proxy uses it too
//
// To add a feature: a directory beside proxy/script, its Config in
// config/file.go, one line in features.go.
package proxy
