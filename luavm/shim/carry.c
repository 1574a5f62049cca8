//go:build cgo && luajit

/*
 * Values on their way from one state to another, as bytes.
 *
 *   ngx.run_worker_thread          state of the exchange     state of a thread
 *     arguments --- pack ---> op_str ---> Go ---> in[DATA] --- unpack ---> f
 *     results  <-- unpack --- in[DATA] <--- Go <--- out <------ pack <-----'
 *
 * One tag byte for each value, then:
 *
 *   n                nil        t f             booleans
 *   d 8 bytes        number     p 8 bytes       light userdata
 *   s length bytes   string     { key value ... }   table, without metatable
 *
 * The bytes never leave the process, so they are in the machine's own order.
 *
 * pack goes over its arguments twice: first to know the size and whether all
 * of it can travel, then to write. Nothing is allocated but the string that it
 * returns, so no error can leave memory behind.
 */
#include "shim.h"

#include <string.h>

enum { DEEPEST = 100 };          /* tables in tables, as in OpenResty */

typedef struct carried {
  char *p;                       /* NULL: only count */
  size_t n;
} carried;

static void put(carried *c, const void *p, size_t n) {
  if (c->p) memcpy(c->p + c->n, p, n);
  c->n += n;
}

static void put_tag(carried *c, char tag) { put(c, &tag, 1); }

static const char *put_value(lua_State *L, carried *c, int i, int depth);

static const char *put_table(lua_State *L, carried *c, int i, int depth) {
  const char *why;
  if (depth >= DEEPEST)
    return "suspicious circular references, "
           "table depth exceed max depth: 100";
  luaL_checkstack(L, 4, "table too deep");
  put_tag(c, '{');
  for (lua_pushnil(L); lua_next(L, i); lua_settop(L, -2)) {
    int top = lua_gettop(L);
    if ((why = put_value(L, c, top - 1, depth + 1)) ||
        (why = put_value(L, c, top, depth + 1)))
      return why;
  }
  put_tag(c, '}');
  return NULL;
}

/* NULL, or why the value at i cannot travel. depth 1: it may be nil. */
static const char *put_value(lua_State *L, carried *c, int i, int depth) {
  size_t n;
  const char *s;
  lua_Number d;
  void *p;
  switch (lua_type(L, i)) {
  case LUA_TBOOLEAN:
    put_tag(c, lua_toboolean(L, i) ? 't' : 'f');
    return NULL;
  case LUA_TNUMBER:
    d = lua_tonumber(L, i);
    put_tag(c, 'd');
    put(c, &d, sizeof d);
    return NULL;
  case LUA_TSTRING:
    s = lua_tolstring(L, i, &n);
    put_tag(c, 's');
    put(c, &n, sizeof n);
    put(c, s, n);
    return NULL;
  case LUA_TLIGHTUSERDATA:
    p = lua_touserdata(L, i);
    put_tag(c, 'p');
    put(c, &p, sizeof p);
    return NULL;
  case LUA_TTABLE:
    return put_table(L, c, i, depth);
  case LUA_TNIL:
    if (depth > 1) return "unsupported Lua type: LUA_TNIL";
    put_tag(c, 'n');
    return NULL;
  case LUA_TFUNCTION:
    return "unsupported Lua type: LUA_TFUNCTION";
  case LUA_TUSERDATA:
    return "unsupported Lua type: LUA_TUSERDATA";
  case LUA_TTHREAD:
    return "unsupported Lua type: LUA_TTHREAD";
  default:
    return "unsupported Lua type";
  }
}

/* pack(...): a string, or nil and why not. */
int pg_lua_pack(lua_State *L) {
  int i, n = lua_gettop(L);
  carried c = { NULL, 0 };
  for (i = 1; i <= n; i++) {
    const char *why = put_value(L, &c, i, 1);
    if (why) {
      lua_pushnil(L);
      lua_pushstring(L, why);
      return 2;
    }
  }
  c.p = lua_newuserdata(L, c.n ? c.n : 1);
  c.n = 0;
  for (i = 1; i <= n; i++) put_value(L, &c, i, 1);
  lua_pushlstring(L, c.p, c.n);
  return 1;
}

static int damaged(lua_State *L) {
  return luaL_error(L, "BUG: values of another state are damaged");
}

static void take(lua_State *L, carried *c, void *to, size_t n) {
  if (c->n < n) damaged(L);
  memcpy(to, c->p, n);
  c->p += n;
  c->n -= n;
}

/* Pushes the next value; 0: it was the end of a table. */
static int take_value(lua_State *L, carried *c) {
  char tag;
  size_t n;
  lua_Number d;
  void *p;
  take(L, c, &tag, 1);
  switch (tag) {
  case 'n': lua_pushnil(L); return 1;
  case 't': lua_pushboolean(L, 1); return 1;
  case 'f': lua_pushboolean(L, 0); return 1;
  case 'd':
    take(L, c, &d, sizeof d);
    lua_pushnumber(L, d);
    return 1;
  case 'p':
    take(L, c, &p, sizeof p);
    lua_pushlightuserdata(L, p);
    return 1;
  case 's':
    take(L, c, &n, sizeof n);
    if (c->n < n) damaged(L);
    lua_pushlstring(L, c->p, n);
    c->p += n;
    c->n -= n;
    return 1;
  case '{':
    luaL_checkstack(L, 4, "table too deep");
    lua_newtable(L);
    while (take_value(L, c)) {
      if (!take_value(L, c)) damaged(L);
      lua_rawset(L, -3);
    }
    return 1;
  case '}':
    return 0;
  }
  return damaged(L);
}

/* unpack(s): the values that were packed. */
int pg_lua_unpack(lua_State *L) {
  carried c;
  int first = lua_gettop(L);
  c.p = (char *)(uintptr_t)luaL_checklstring(L, 1, &c.n);
  while (c.n) {
    luaL_checkstack(L, 2, "too many values");
    if (!take_value(L, &c)) damaged(L);
  }
  return lua_gettop(L) - first;
}

/* call(f, ...): as pcall, but f cannot yield through it. */
int pg_lua_call(lua_State *L) {
  int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
  lua_pushboolean(L, status == 0);
  lua_insert(L, 1);
  return lua_gettop(L);
}
