//go:build cgo && luajit

/*
 * data.c: what of the data API must be handed to Lua by Lua's own C API:
 * ngx.null, and lua-cjson (Debian's lua-cjson-dev, linked statically), so
 * that `require "cjson"` needs no file.
 */
#include "shim.h"

int luaopen_cjson(lua_State *L);
int luaopen_cjson_safe(lua_State *L);

/* Called while the argument table of init.lua is on top of the stack. */
void pg_data_boot(lua_State *L) {
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
  lua_pushcfunction(L, luaopen_cjson);
  lua_setfield(L, -2, "cjson");
  lua_pushcfunction(L, luaopen_cjson_safe);
  lua_setfield(L, -2, "cjson_safe");
}
