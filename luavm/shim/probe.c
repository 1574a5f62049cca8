//go:build cgo && luajit

/*
 * Asks the linked LuaJIT whether its compiled loops obey a count hook, by
 * trying: the answer decides how much time a script gets between the two
 * stages of the watchdog, and `perigee version` prints it.
 */
#include "shim.h"

enum { STEPS = 200000 };

static lua_State *probed;
static long steps;

static void on_step(lua_State *L, lua_Debug *ar) {
  (void)ar;
  lua_sethook(L, NULL, 0, 0);
  luaL_error(L, "hooked");
}

/* Called from the compiled loop; sets the hook half way. */
static void step(void) {
  if (++steps == STEPS / 2) lua_sethook(probed, on_step, LUA_MASKCOUNT, 1);
}

static int do_probe(lua_State *L) {
  static const char code[] =
      "local step, n = ...\n"
      "step = require('ffi').cast('void (*)(void)', step)\n"
      "for i = 1, n do step() end\n";
  luaL_openlibs(L);
  if (luaL_loadbuffer(L, code, sizeof code - 1, "=probe")) return lua_error(L);
  lua_pushlightuserdata(L, (void *)(uintptr_t)step);
  lua_pushinteger(L, STEPS);
  lua_call(L, 2, 0);
  return 0;
}

/* 1: compiled loops end on a hook. Not for concurrent use. */
int pg_hardened(void) {
  int hooked;
  steps = 0;
  probed = luaL_newstate();
  if (!probed) return 0;
  hooked = lua_cpcall(probed, do_probe, NULL) != 0 && steps < STEPS;
  lua_close(probed);
  probed = NULL;
  return hooked;
}
