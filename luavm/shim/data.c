//go:build cgo && luajit

/*
 * data.c: what of the data API must be handed to Lua by Lua's own C API:
 * ngx.null, the shared dictionaries by name, and lua-cjson (the
 * distribution's, with the patches of .ci/cjson, linked statically, so that
 * `require "cjson"` needs no file).
 */
#include "shdict.h"
#include "shim.h"

int luaopen_cjson(lua_State *L);
int luaopen_cjson_safe(lua_State *L);

typedef struct list { pg_shdict **dicts; uint32_t n; } list;

static int provide(lua_State *L) {
  list *all = lua_touserdata(L, 1);
  lua_getfield(L, LUA_REGISTRYINDEX, PG_BOOT_KEY);
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
  lua_pushcfunction(L, luaopen_cjson);
  lua_setfield(L, -2, "cjson");
  lua_pushcfunction(L, luaopen_cjson_safe);
  lua_setfield(L, -2, "cjson_safe");
  lua_createtable(L, 0, (int)all->n);
  for (uint32_t i = 0; i < all->n; i++) {
    pg_shdict *d = all->dicts[i];
    lua_pushlstring(L, d->name, d->name_len);
    lua_pushlightuserdata(L, d);
    lua_rawset(L, -3);
  }
  lua_setfield(L, -2, "dicts");
  return 0;
}

/* Adds to the argument table of init.lua, before pg_boot; 0, or -1 when
   memory is short. */
int pg_provide(pg_state *v, pg_shdict **dicts, uint32_t n) {
  list all = {dicts, n};
  v->crossings++;
  lua_settop(v->L, 0);
  int bad = lua_cpcall(v->L, provide, &all);
  lua_settop(v->L, 0);
  return bad ? -1 : 0;
}
