//go:build cgo && luajit

/*
 * The first function of this package in the program's text; zz_end.c has the
 * last one. C files are compiled and linked in the order of their names, so
 * everything else of ours that Lua can call lies between, which is how the
 * watchdog knows where it must not jump out. It checks that at its start.
 */
#include "shim.h"

void pg_text_begin(void) {}
