// Package instructions holds how many instructions the Lua bridge takes for what
// scripts do all the time: its tests build luavm/shim and lualib into a program
// without Go (testdata/harness.c), run each of testdata/scripts in it under
// callgrind, and compare with testdata/instructions.txt.
//
// The JIT compiler is off, so the figures are no measure of speed: what runs
// compiled in the gateway is interpreted here, FFI calls included. They are exact,
// the same at each run on each machine with the same compiler and LuaJIT, and so
// show what timing on a shared machine does not: that a header is now looked up
// twice, or that a call makes one object more.
package instructions
