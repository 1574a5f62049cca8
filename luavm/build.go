package luavm

import (
	"sync"

	"perigee/luavm/shim"
)

// Build says which LuaJIT is linked and whether it can end compiled loops:
// "LuaJIT 2.1... hardened" or "... stock". Where the watchdog cannot abandon
// calls that ignore it (all but x86-64) it says "no jumps" too.
func Build() string {
	name := shim.Version()
	if Hardened() {
		name += " hardened"
	} else {
		name += " stock"
	}
	if !shim.Jumps {
		name += ", no jumps"
	}
	return name
}

// Hardened tells whether the linked LuaJIT checks hooks in compiled loops, so
// that a script over its budget ends as a Lua error with its VM kept. The
// first call takes a millisecond.
func Hardened() bool { return hardened() }

// RegexJIT tells whether the linked PCRE2 compiles patterns to machine code.
func RegexJIT() bool { return shim.RegexJIT() }

var hardened = sync.OnceValue(shim.Hardened)
