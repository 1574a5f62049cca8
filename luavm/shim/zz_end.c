//go:build cgo && luajit

/* The last function of this package: see a_begin.c. */
#include "shim.h"

void pg_text_end(void) {}
