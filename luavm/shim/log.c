//go:build cgo && luajit

/*
 * ngx.log's last step: text of the arguments behind "[lua] file:line: name(): ".
 * A C function, because asking for the caller's line from Lua would abort the
 * trace of every script that logs; a trace goes on behind a C function.
 */
#include "shim.h"

#include <stdio.h>
#include <string.h>

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static void add_place(lua_State *L, luaL_Buffer *b, int *had) {
  lua_Debug ar;
  char line[24];
  *had = 0;
  luaL_addstring(b, "[lua] ");
  if (!lua_getstack(L, 1, &ar) || !lua_getinfo(L, "Snl", &ar)) return;
  *had = 1;
  luaL_addstring(b, base_name(ar.short_src));
  snprintf(line, sizeof line, ":%d: ",
           ar.currentline > 0 ? ar.currentline : ar.linedefined);
  luaL_addstring(b, line);
  if (*ar.namewhat && *ar.what == 'L') {
    luaL_addstring(b, ar.name);
    luaL_addstring(b, "(): ");
  }
}

static void push_argument(lua_State *L, int i) {
  int type = lua_type(L, i);
  switch (type) {
  case LUA_TNUMBER:
  case LUA_TSTRING:
    lua_pushvalue(L, i);
    lua_tostring(L, -1);
    return;
  case LUA_TNIL:
    lua_pushliteral(L, "nil");
    return;
  case LUA_TBOOLEAN:
    lua_pushstring(L, lua_toboolean(L, i) ? "true" : "false");
    return;
  case LUA_TTABLE:
    if (!luaL_callmeta(L, i, "__tostring"))
      luaL_argerror(L, i, "expected table to have __tostring metamethod");
    if (!lua_tostring(L, -1)) lua_pushliteral(L, "");
    return;
  case LUA_TLIGHTUSERDATA:
    lua_pushstring(L, lua_touserdata(L, i) ? "" : "null");
    return;
  default:
    luaL_argerror(L, i, lua_pushfstring(L,
        "string, number, boolean, or nil expected, got %s",
        lua_typename(L, type)));
  }
}

/* (level, ...): the level was checked by the caller. */
int pg_lua_log(lua_State *L) {
  pg_state *v = lua_touserdata(L, lua_upvalueindex(1));
  int i, had, top, level = (int)luaL_checkinteger(L, 1);
  size_t n;
  const char *s;
  luaL_Buffer b;
  lua_remove(L, 1);
  top = lua_gettop(L);
  luaL_checkstack(L, 8, "too many arguments");
  luaL_buffinit(L, &b);
  add_place(L, &b, &had);
  luaL_pushresult(&b);
  for (i = 1; i <= top; i++) {
    push_argument(L, i);
    lua_insert(L, top + 2);      /* __tostring leaves no other value behind */
    lua_settop(L, top + 2);
    lua_concat(L, 2);
  }
  s = lua_tolstring(L, -1, &n);
  pg_line_add(v, level, s, n);
  return 0;
}
