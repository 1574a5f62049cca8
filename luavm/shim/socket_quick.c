//go:build cgo && luajit

/*
 * receive, send, connect and setkeepalive as scripts mostly call them, in C.
 *
 * What follows a wait is never compiled, and the interpreter pays 50 to 100 ns
 * for each field of a C struct that Lua looks at through FFI. So the methods in
 * socket_receive.lua, socket_send.lua, socket_tcp.lua and socket_tcp_pool.lua
 * ask these functions first. They do what is common, or nothing at all: then
 * they say "not mine", and the method's Lua goes on from the beginning, with
 * its checks, errors and messages. Nothing here raises but for want of memory.
 *
 *   method (Lua)          quick (C)                     host
 *   receive(u, n) ------> bytes are there: the string
 *         |               else: op, READING, yield ----> performs the op
 *         |    nothing <------------------------------- resumes
 *         '-------------> again: takes the op's result, looks again
 *
 * A C function of LuaJIT cannot go on after its yield: what it "returns" then is
 * what it was resumed with, nothing. The method calls it again; thread.reading
 * and reading_at say that this call is the wait's second half. (They tell it by
 * the wait's serial: a script may be stopped between the two halves.)
 *
 * u.s must be what Lua holds a socket by. A script that may not use FFI can
 * still put a number of type int64_t there. So the id of its C type, which
 * stands in the header before a cdata's content, is compared with that of
 * pg_sock *. Where it stands is found out by two cdata of known types when the
 * functions are made; in a LuaJIT where it is in neither place, there are no
 * quick functions.
 *
 *   GCRef 64 bits   | nextgc: 8 | marked, gct | id | (4)  | content
 *   GCRef 32 bits               | nextgc: 4 | marked, gct | id | content
 */
#include "socket.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {                       /* upvalues of each function */
  UP_STATE = 1, UP_S, UP_WAIT, UP_KEPT, UP_POOLS, UP_KEY, UP_READ_MS, UP_OWNER,
  UP_TYPE, UP_PHASES, UP_COUNT = UP_PHASES
};

enum {
  CDATA = 10,                /* lua_type of it */
  NESTED = 8,                /* tables in tables that are sent here */
  READY = PG_SOCK_OPEN | PG_SOCK_READ_SHUT | PG_SOCK_READING |
          PG_SOCK_CONNECTING | PG_SOCK_DOWNSTREAM,
  SENDABLE = PG_SOCK_OPEN | PG_SOCK_WRITE_SHUT | PG_SOCK_WRITING |
             PG_SOCK_CONNECTING | PG_SOCK_DOWNSTREAM | PG_SOCK_DATAGRAM,
  KEEPABLE = PG_SOCK_OPEN | PG_SOCK_EOF | PG_SOCK_READ_SHUT |
             PG_SOCK_WRITE_SHUT | PG_SOCK_CONNECTING | PG_SOCK_READING |
             PG_SOCK_WRITING | PG_SOCK_DOWNSTREAM   /* of these, only OPEN */
};

static pg_state *state_of(lua_State *L) {
  return lua_touserdata(L, lua_upvalueindex(UP_STATE));
}

static int not_mine(lua_State *L) {
  lua_pushboolean(L, 0);
  return 1;
}

/* How many uint16_t before the content a cdata's type stands. */
static int id_before(const void *a, lua_Integer of_a, const void *b,
                     lua_Integer of_b) {
  static const int places[] = { 3, 1 };
  size_t i;
  for (i = 0; i < sizeof places / sizeof *places; i++)
    if (((const uint16_t *)a)[-places[i]] == of_a &&
        ((const uint16_t *)b)[-places[i]] == of_b)
      return places[i];
  return 0;
}

/* The socket of the object at 1, or NULL: there is none, or it is another's. */
static pg_sock *socket_of(lua_State *L, const pg_vm *vm) {
  pg_sock *s = NULL;
  if (!lua_istable(L, 1)) return NULL;
  lua_pushvalue(L, lua_upvalueindex(UP_S));
  lua_rawget(L, 1);
  if (lua_type(L, -1) == CDATA) {
    const void *content = lua_topointer(L, -1);
    lua_Integer type = lua_tointeger(L, lua_upvalueindex(UP_TYPE));
    if (((const uint16_t *)content)[-(type >> 16)] == (type & 0xffff))
      s = *(pg_sock *const *)content;
  }
  lua_pop(L, 1);
  if (!s || s->slot_id != vm->slot->id || s->gen != vm->slot->gen) return NULL;
  return s;
}

static double moment(const pg_thread *t) {
  return (double)t->index * 4294967296.0 + t->serial;
}

/* ---- receive ---- */

/* n bytes came; 0: the end. As read_some in socket_receive.lua. */
static void arrived(pg_sock *s, const pg_thread *t, int32_t n) {
  s->flags &= ~(uint32_t)PG_SOCK_FULL;
  if (n > 0 && s->fill == s->cap) s->flags |= PG_SOCK_FULL;
  if (n == 0) s->flags |= PG_SOCK_EOF;
  s->read_at = moment(t);
}

/* What a line or so many bytes still want. */
static uint32_t wanted(const pg_sock *s, int32_t size) {
  return size < 0 ? 0 : (uint32_t)size - (s->fill - s->pos);
}

static int wait_for_bytes(lua_State *L, const pg_vm *vm, pg_sock *s) {
  pg_thread *t = vm->thread;
  double ms = 0;
  lua_pushvalue(L, lua_upvalueindex(UP_READ_MS));
  lua_rawget(L, 1);
  if (lua_type(L, -1) == LUA_TNUMBER) ms = lua_tonumber(L, -1);
  if (!(ms > 0)) ms = vm->slot->sockets->read_ms;
  t->op = PG_OP_SOCK_READ;
  t->op_num = ms / 1000;
  t->op_num2 = (double)(uintptr_t)s;
  t->reading = s;
  t->reading_at = t->serial + 1;       /* the wait's, once it has begun */
  s->flags |= PG_SOCK_READING;
  s->ops++;
  lua_pushvalue(L, lua_upvalueindex(UP_WAIT));
  return lua_yield(L, 1);
}

/* Was this call's first half a wait for s? Then *n is what came of it. */
static int has_waited(pg_thread *t, pg_sock *s, int32_t *n) {
  int mine = t->reading == s && t->reading_at == t->serial;
  t->reading = NULL;
  if (!mine) return 0;
  s->ops--;
  s->flags &= ~(uint32_t)PG_SOCK_READING;
  *n = t->res;
  if (*n > 0) s->fill += (uint32_t)*n;
  return 1;
}

/* -1: a line; else how many bytes; 0: neither. */
static int32_t what_to_receive(lua_State *L) {
  size_t n;
  const char *text;
  double size;
  switch (lua_gettop(L)) {
  case 1:
    return -1;
  case 2:
    break;
  default:
    return 0;
  }
  if (lua_type(L, 2) == LUA_TSTRING) {
    text = lua_tolstring(L, 2, &n);
    return n == 2 && text[0] == '*' && text[1] == 'l' ? -1 : 0;
  }
  if (lua_type(L, 2) != LUA_TNUMBER) return 0;
  size = lua_tonumber(L, 2);
  return size >= 1 && size <= INT32_MAX ? (int32_t)size : 0;
}

/*
 * receive(u, [size]): the string; false: not mine; false, code: reading failed;
 * nothing: it has waited and is to be called again.
 */
static int quick_receive(lua_State *L) {
  pg_state *v = state_of(L);
  pg_thread *t = v->vm.thread;
  int32_t size = what_to_receive(L), n;
  pg_sock *s = size ? socket_of(L, &v->vm) : NULL;
  if (!s) return not_mine(L);
  if (t->reading && has_waited(t, s, &n)) {
    arrived(s, t, n);
    if (n <= 0) {
      lua_pushboolean(L, 0);
      lua_pushinteger(L, n);
      return 2;
    }
  } else if ((s->flags & READY) != PG_SOCK_OPEN) {
    return not_mine(L);
  }
  while ((size < 0 ? pg_sock_line(s) : pg_sock_bytes(s, (uint32_t)size)) !=
         PG_GOT) {
    if (s->flags & PG_SOCK_EOF || !lua_isyieldable(L) ||
        pg_sock_room(s, wanted(s, size)))
      return not_mine(L);
    if (!(s->flags & PG_SOCK_FULL) ||
        (n = pg_sock_receive(s)) == PG_SOCK_AGAIN)
      return wait_for_bytes(L, &v->vm, s);
    arrived(s, t, n);
    if (n <= 0) {
      lua_pushboolean(L, 0);
      lua_pushinteger(L, n);
      return 2;
    }
  }
  lua_pushlstring(L, s->got.p, s->got.n);
  return 1;
}

/* ---- send ---- */

/* A number as tostring writes it; the value on the top may become its text. */
static int put_number(lua_State *L, pg_sock *s) {
  double x = lua_tonumber(L, -1);
  size_t n;
  const char *p;
  if (x >= 0 && x < 1e9 && x == floor(x) && !signbit(x)) {
    uint32_t k = (uint32_t)x;
    char digits[10], *d = digits + sizeof digits;
    do *--d = (char)('0' + k % 10); while (k /= 10);
    return pg_sock_put(s, d, (uint32_t)(digits + sizeof digits - d));
  }
  p = lua_tolstring(L, -1, &n);
  return pg_sock_put(s, p, (uint32_t)n);
}

/*
 * Adds the table on the top to what s sends: 0, or it is none of strings and
 * numbers under 1, 2, ... in the order in which lua_next finds them.
 */
static int put_list(lua_State *L, pg_sock *s, int depth) {
  uint32_t i = 0;
  int list = lua_gettop(L), bad = 0;
  if (depth > NESTED || !lua_checkstack(L, 4)) return -1;
  lua_pushnil(L);
  while (!bad && lua_next(L, list)) {
    size_t n;
    const char *p;
    if (lua_type(L, -2) != LUA_TNUMBER || lua_tonumber(L, -2) != ++i) {
      bad = -1;
      break;
    }
    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
      p = lua_tolstring(L, -1, &n);
      bad = n > INT32_MAX || pg_sock_put(s, p, (uint32_t)n);
      break;
    case LUA_TNUMBER:
      bad = put_number(L, s);
      break;
    case LUA_TTABLE:
      bad = put_list(L, s, depth + 1);
      break;
    default:
      bad = -1;
    }
    lua_pop(L, 1);
  }
  lua_settop(L, list);
  return bad;
}

static int sent(lua_State *L, pg_sock *s, uint32_t n) {
  s->out_pos = s->out_len = 0;
  lua_pushinteger(L, (lua_Integer)n);
  return 1;
}

/* Of n bytes gone went; the rest is in out from out_pos. */
static int send_later(lua_State *L, int32_t gone, uint32_t n) {
  lua_pushboolean(L, 0);
  lua_pushinteger(L, gone < 0 ? gone : (lua_Integer)n);
  return 2;
}

static int send_text(lua_State *L, pg_sock *s) {
  size_t n;
  const char *p = lua_tolstring(L, 2, &n);
  int32_t gone;
  if (!n || n > INT32_MAX) return not_mine(L);
  gone = pg_sock_send(s, p, (uint32_t)n);
  if (gone == (int32_t)n) return sent(L, s, (uint32_t)n);
  if (gone >= 0 && pg_sock_put(s, p + gone, (uint32_t)n - (uint32_t)gone))
    return luaL_error(L, "no memory");
  return send_later(L, gone, (uint32_t)n);
}

static int send_list(lua_State *L, pg_sock *s) {
  int32_t gone;
  uint32_t n;
  s->out_pos = s->out_len = 0;
  if (put_list(L, s, 1) || !s->out_len) {
    s->out_len = 0;
    return not_mine(L);
  }
  n = s->out_len;
  gone = pg_sock_send(s, s->out, n);
  if (gone == (int32_t)n) return sent(L, s, n);
  if (gone > 0) s->out_pos = (uint32_t)gone;
  return send_later(L, gone, n);
}

/*
 * send(u, data): how many bytes went; false: not mine; false, n: n bytes, of
 * which the rest is to wait; false, -errno.
 */
static int quick_send(lua_State *L) {
  const pg_vm *vm = &state_of(L)->vm;
  pg_sock *s = lua_gettop(L) == 2 ? socket_of(L, vm) : NULL;
  if (!s || (s->flags & SENDABLE) != PG_SOCK_OPEN) return not_mine(L);
  switch (lua_type(L, 2)) {
  case LUA_TSTRING: return send_text(L, s);
  case LUA_TTABLE: return send_list(L, s);
  default: return not_mine(L);
  }
}

/* ---- pools ---- */

/* pools[the value on the top], which goes; NULL: none, or it has ended. */
static pg_pool *pool_of(lua_State *L) {
  pg_pool *p = NULL;
  lua_rawget(L, lua_upvalueindex(UP_POOLS));
  if (lua_type(L, -1) == CDATA) p = (pg_pool *)(uintptr_t)lua_topointer(L, -1);
  lua_pop(L, 1);
  return p && p->count > 0 ? p : NULL;
}

static double owner_of(const pg_slot *slot) {
  return (double)slot->id * 4294967296.0 + slot->gen;
}

/* Sets field `up` of the object at 1 to the value on the top. */
static void set_field(lua_State *L, int up) {
  lua_pushvalue(L, lua_upvalueindex(up));
  lua_insert(L, -2);
  lua_rawset(L, 1);
}

/* Has u no connection, and is it this exchange's if it was ever connected? */
static int is_free(lua_State *L, const pg_slot *slot) {
  int ok;
  lua_pushvalue(L, lua_upvalueindex(UP_S));
  lua_rawget(L, 1);
  lua_pushvalue(L, lua_upvalueindex(UP_OWNER));
  lua_rawget(L, 1);
  ok = lua_isnil(L, -2) &&
       (lua_isnil(L, -1) || (lua_type(L, -1) == LUA_TNUMBER &&
                             lua_tonumber(L, -1) == owner_of(slot)));
  lua_pop(L, 2);
  return ok;
}

/* connect(u, host, port): 1, with an idle connection; false: not mine. */
static int quick_connect(lua_State *L) {
  pg_vm *vm = &state_of(L)->vm;
  uint32_t phases = (uint32_t)lua_tointeger(L, lua_upvalueindex(UP_PHASES));
  const char *host;
  size_t n;
  double port;
  pg_pool *pool;
  uint32_t handle;
  if (lua_gettop(L) != 3 || !lua_istable(L, 1) ||
      lua_type(L, 2) != LUA_TSTRING || lua_type(L, 3) != LUA_TNUMBER ||
      !vm->slot || !(phases & 1u << vm->slot->phase) || !is_free(L, vm->slot))
    return not_mine(L);
  host = lua_tolstring(L, 2, &n);
  port = lua_tonumber(L, 3);
  if (port < 0 || port > 65535 || port != floor(port) || strlen(host) != n)
    return not_mine(L);
  lua_pushfstring(L, "%s:%d", host, (int)port);        /* at 4 */
  lua_pushvalue(L, 4);
  pool = pool_of(L);
  handle = pool ? pg_pool_reuse(vm, pool) : 0;
  if (!handle) return not_mine(L);
  lua_rawgeti(L, lua_upvalueindex(UP_KEPT), (int)handle);
  lua_pushnil(L);
  lua_rawseti(L, lua_upvalueindex(UP_KEPT), (int)handle);
  set_field(L, UP_S);
  set_field(L, UP_KEY);
  lua_pushnumber(L, owner_of(vm->slot));
  set_field(L, UP_OWNER);
  lua_pushinteger(L, 1);
  return 1;
}

/* setkeepalive(u, [ms, [size]]): 1; false: not mine. */
static int quick_keep(lua_State *L) {
  const pg_vm *vm = &state_of(L)->vm;
  int n = lua_gettop(L);
  pg_sock *s = n >= 1 && n <= 3 ? socket_of(L, vm) : NULL;
  pg_pool *pool;
  double ms;
  if (!s || (s->flags & KEEPABLE) != PG_SOCK_OPEN || vm->exiting ||
      s->fill != s->pos ||
      (n >= 2 && !lua_isnil(L, 2) && lua_type(L, 2) != LUA_TNUMBER) ||
      (n >= 3 && !lua_isnil(L, 3) && lua_type(L, 3) != LUA_TNUMBER))
    return not_mine(L);
  if (s->read_at != moment(vm->thread) && pg_sock_stir(s) != PG_QUIET)
    return not_mine(L);
  ms = n >= 2 && !lua_isnil(L, 2) ? lua_tonumber(L, 2)
                                  : vm->slot->sockets->keepalive_ms;
  lua_pushvalue(L, lua_upvalueindex(UP_KEY));
  lua_rawget(L, 1);
  if (lua_type(L, -1) != LUA_TSTRING || !(pool = pool_of(L)))
    return not_mine(L);
  lua_pushvalue(L, lua_upvalueindex(UP_S));
  lua_rawget(L, 1);
  lua_rawseti(L, lua_upvalueindex(UP_KEPT), (int)s->handle);
  lua_pushnil(L);
  set_field(L, UP_S);
  pg_pool_keep(s, pool, ms);
  lua_pushinteger(L, 1);
  return 1;
}

/* ---- for Lua ---- */

/* Of the function to be made: values of quick's own arguments, by upvalue. */
static void push_upvalues(lua_State *L, lua_Integer type) {
  static const char *const names[UP_COUNT + 1] = {
    [UP_S] = "s", [UP_KEY] = "key", [UP_READ_MS] = "read_ms",
    [UP_OWNER] = "owner",
  };
  static const int arguments[UP_COUNT + 1] = {
    [UP_WAIT] = 1, [UP_KEPT] = 2, [UP_POOLS] = 3, [UP_PHASES] = 4,
  };
  int up;
  for (up = 1; up <= UP_COUNT; up++) {
    if (names[up]) lua_pushstring(L, names[up]);
    else if (arguments[up]) lua_pushvalue(L, arguments[up]);
    else if (up == UP_TYPE) lua_pushinteger(L, type);
    else lua_pushvalue(L, lua_upvalueindex(UP_STATE));
  }
}

/*
 * quick(wait, kept, pools, phases, socket, its type, other, its type): receive,
 * send, connect, keep; nothing where cdata are not laid out as said above.
 * socket: a pg_sock *, other: a cdata of another type; types as numbers.
 */
int pg_lua_quick(lua_State *L) {
  static const lua_CFunction all[] = { quick_receive, quick_send,
                                       quick_connect, quick_keep };
  lua_Integer id = lua_tointeger(L, 6);
  int before;
  size_t i;
  if (lua_type(L, 5) != CDATA || lua_type(L, 7) != CDATA) return 0;
  before = id_before(lua_topointer(L, 5), id, lua_topointer(L, 7),
                     lua_tointeger(L, 8));
  if (!before) return 0;
  luaL_checkstack(L, UP_COUNT + 8, "no memory");
  for (i = 0; i < sizeof all / sizeof *all; i++) {
    push_upvalues(L, (lua_Integer)before << 16 | id);
    lua_pushcclosure(L, all[i], UP_COUNT);
  }
  return (int)(sizeof all / sizeof *all);
}
