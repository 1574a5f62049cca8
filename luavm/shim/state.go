//go:build cgo && luajit

package shim

// #cgo CFLAGS: -I${SRCDIR}/../../.deps/luajit/include
// #include "shim.h"
import "C"

import (
	"unsafe"

	glua "github.com/aarzilli/golua/lua"
)

// golua serves the cold path only: making and closing a state. Its calls are
// not used: with LuaJIT an error in State.Call leaves stale C frames behind,
// callbacks do not see a coroutine's arguments, and a call costs as much as a
// whole access script.

// luaState is golua's state: this file is the one that knows golua.
type luaState = glua.State

// newLua makes a state with all standard libraries. golua's OpenLibs hides
// pcall and xpcall as unsafe_pcall and unsafe_xpcall, because they would catch
// its own panics. There are none here: they get their names back.
func newLua() *luaState {
	lua := glua.NewState()
	lua.OpenLibs()
	for _, name := range []string{"pcall", "xpcall"} {
		lua.GetGlobal("unsafe_" + name)
		lua.SetGlobal(name)
		lua.PushNil()
		lua.SetGlobal("unsafe_" + name)
	}
	lua.PushNil()
	lua.SetGlobal("golua_default_msghandler")
	return lua
}

func luaPointer(lua *luaState) *C.lua_State {
	return (*C.lua_State)(unsafe.Pointer(lua.GetState()))
}

// Version is LuaJIT's own name, as in "LuaJIT 2.1.0-beta3".
func Version() string { return C.LUAJIT_VERSION }
