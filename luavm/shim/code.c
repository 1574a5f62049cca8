//go:build cgo && luajit

/*
 * code.c: Lua source as bytecode, so that the library is parsed once for all
 * VMs of the process. Names and line numbers stay in it.
 */
#include "shim.h"

#include <stdlib.h>
#include <string.h>

typedef struct code { char *p; size_t n, cap; } code;

static int write_code(lua_State *L, const void *p, size_t n, void *ud) {
  code *c = ud;
  (void)L;
  if (c->n + n > c->cap) {
    size_t cap = (c->n + n) * 2;
    char *q = realloc(c->p, cap);
    if (!q) return 1;
    c->p = q;
    c->cap = cap;
  }
  memcpy(c->p + c->n, p, n);
  c->n += n;
  return 0;
}

/* Compiles p[n] under the chunk name; 0, or -1 with the message in err. The
   bytecode is the caller's to free. */
int pg_compile_code(lua_State *L, const char *chunk, const char *p, size_t n,
                    char **out, size_t *out_n, char *err, size_t err_max) {
  code c = { NULL, 0, 0 };
  int failed = luaL_loadbufferx(L, p, n, chunk, "t");
  if (failed) {
    const char *message = lua_tostring(L, -1);
    strncpy(err, message ? message : "no memory", err_max - 1);
    err[err_max - 1] = 0;
  } else if ((failed = lua_dump(L, write_code, &c))) {
    strncpy(err, "no memory", err_max);
  }
  lua_settop(L, 0);
  if (failed) {
    free(c.p);
    return -1;
  }
  *out = c.p;
  *out_n = c.n;
  return 0;
}
