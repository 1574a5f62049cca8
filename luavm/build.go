package luavm

import "perigee/luavm/shim"

// Build says which LuaJIT is linked and whether it can end compiled loops:
// "LuaJIT 2.1... hardened" or "... stock".
func Build() string {
	if Hardened() {
		return shim.Version() + " hardened"
	}
	return shim.Version() + " stock"
}

// Hardened tells whether the linked LuaJIT checks hooks in compiled loops, so
// that a script over its budget ends as a Lua error with its VM kept.
func Hardened() bool { return shim.Hardened() }
