// Package luatest runs Lua specs against real gateways: `perigee test`.
//
//	suite                        finds *_spec.lua, adds results up, reports
//	 '- file                     one spec file, in a VM of its own
//	     '- steps                collect; then run and after for each test
//	         |  host.ask(...)    an op that only Go can perform: Kind OpSpec
//	         v
//	     verbs: gateway, request, exchange, ...
//	         |                          ^ answer: Lua decides for a stub
//	         v                          |
//	     gateway (proxy.Server) ----> stub (HTTP/1.1 on loopback)
//	       real listeners, VMs        stands for an upstream's endpoints
//
// The words of specs (describe, it, assert, spy, ...) are busted's and
// luassert's; the Lua in lua/ has them, written anew. Values travel between
// Lua and Go as bytes: see value.go and lua/wire.lua.
//
// # Time
//
// Gateways and specs share a clock that stands still while they run: a sleep, a
// timer or a time-out that is the next thing to happen happens at once, and
// ngx.now() jumps there. See clock.go.
//
// # What a test may do to the process
//
// A step that uses more CPU than Options.Budget, or waits longer than
// Options.Timeout, ends as a failed test; the others go on.
package luatest
