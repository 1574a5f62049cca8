package luavm

import (
	"sync"

	"perigee/luavm/shim"
)

// Build says which LuaJIT is linked and whether it can end compiled loops:
// "LuaJIT 2.1... hardened" or "... stock", and "no jumps" where Jumps is false.
func Build() string {
	name := shim.Version()
	if Hardened() {
		name += " hardened"
	} else {
		name += " stock"
	}
	if !Jumps() {
		name += ", no jumps"
	}
	return name
}

// Hardened tells whether the linked LuaJIT checks hooks in compiled loops, so
// that a script over its budget ends as a Lua error with its VM kept. The
// first call takes a millisecond.
func Hardened() bool { return hardened() }

// Jumps tells whether the watchdog can end what no hook ends: a regular
// expression, which keeps its VM, and C functions of LuaJIT, which lose it.
// Otherwise lua.regex.match_limit alone ends a match, and such a C function
// holds its VM until it returns by itself.
func Jumps() bool { return shim.Jumps() }

// RegexJIT tells whether the linked PCRE2 compiles patterns to machine code.
func RegexJIT() bool { return shim.RegexJIT() }

var hardened = sync.OnceValue(shim.Hardened)
