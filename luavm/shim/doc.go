// Package shim is the only package of perigee that speaks to C: it opens
// LuaJIT states, runs coroutines in them and reads what scripts left in C
// memory.
//
// It has no policy. Who locks a state, when it is replaced and what an op
// means is decided in luavm. A State and everything reached from it has one
// user at a time; a Slot may be read and written by its owner while other
// slots of the same state run.
//
// The contract between Go, C and Lua is perigee_ffi.h. Slot and VM here are
// its structs written again with exported names, because Go cannot reach
// another package's C fields; the compiler checks every offset in shim.go.
//
// Without cgo or without the build tag luajit the package compiles to a stub
// whose Open refuses.
package shim
