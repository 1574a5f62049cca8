//go:build cgo && luajit

package shim

/*
#include <stdlib.h>
#include "shim.h"
int pg_compile_code(lua_State *L, const char *chunk, const char *p, size_t n,
                    char **out, size_t *out_n, char *err, size_t err_max);
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// Compile gives modules whose Text is bytecode, which Boot takes as well.
func Compile(modules []Module) ([]Module, error) {
	lua := newLua()
	defer lua.Close()
	compiled := make([]Module, len(modules))
	for i, m := range modules {
		code, err := compileCode(luaPointer(lua), "=perigee:"+m.Name, m.Text)
		if err != nil {
			return nil, fmt.Errorf("luavm: lualib: %w", err)
		}
		compiled[i] = Module{Name: m.Name, Text: code}
	}
	return compiled, nil
}

func compileCode(lua *C.lua_State, chunk string, source []byte) ([]byte, error) {
	name := C.CString(chunk)
	defer C.free(unsafe.Pointer(name))
	var (
		code *C.char
		size C.size_t
		why  [512]C.char
	)
	if C.pg_compile_code(lua, name, bytes(source), C.size_t(len(source)), &code, &size, &why[0], C.size_t(len(why))) != 0 {
		return nil, fmt.Errorf("%s", C.GoString(&why[0]))
	}
	defer C.free(unsafe.Pointer(code))
	return C.GoBytes(unsafe.Pointer(code), C.int(size)), nil
}
