//go:build cgo && luajit

/*
 * A state from opening to closing: its memory, what init.lua gets, handlers
 * as registry references. Running them is vm.c's.
 */
#include "shim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t pg_mono(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

double pg_wall(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (double)t.tv_sec + (double)(t.tv_nsec / 1000000) * 1e-3;
}

void pg_nothing(void) {}

static int on_panic(lua_State *L) {
  const char *m = lua_tostring(L, -1);
  fprintf(stderr, "BUG: unprotected Lua error: %s\n", m ? m : "(no message)");
  fflush(stderr);
  abort();
}

/* ---- protected helpers: what lua_cpcall calls ---- */

void pg_set_error(pg_state *v, const char *p, size_t n) {
  if (n > PG_ERR_MESSAGE) n = PG_ERR_MESSAGE;
  memcpy(v->err, p, n);
  v->err_len = (uint32_t)n;
  v->trace_len = 0;
}

static void take_error(pg_state *v) {   /* the message lua_cpcall left on L */
  size_t n;
  const char *m = lua_type(v->L, -1) == LUA_TSTRING
                      ? lua_tolstring(v->L, -1, &n) : NULL;
  if (!m) { m = "error object is not a string"; n = strlen(m); }
  pg_set_error(v, m, n);
  lua_settop(v->L, 0);
}

int pg_protect(pg_job *job, lua_CFunction f) {
  pg_state *v = job->v;
  v->crossings++;
  lua_settop(v->L, 0);
  if (lua_cpcall(v->L, f, job)) { take_error(v); return -1; }
  return 0;
}

static void set_pointer(lua_State *L, const char *key, const void *p) {
  lua_pushlightuserdata(L, (void *)(uintptr_t)p);
  lua_setfield(L, -2, key);
}

static const char BOOT_KEY[] = PG_BOOT_KEY;
/* registry: makes the environment of scripts that are not trusted */
static const char ENVIRONMENT_KEY[] = "perigee.environment";

static int do_open(lua_State *L) {
  pg_job *job = lua_touserdata(L, 1);
  pg_state *v = job->v;
  lua_newtable(L);                       /* what init.lua gets as its argument */
  set_pointer(L, "vm", v);
  set_pointer(L, "core", pg_core());
  set_pointer(L, "request", pg_request());
  set_pointer(L, "text", pg_text());
  set_pointer(L, "dict", pg_dict());
  set_pointer(L, "limit", pg_limits());
  set_pointer(L, "regex", pg_regexes());
  set_pointer(L, "sockets", pg_sockets());
  set_pointer(L, "metrics", pg_metrics());
  lua_newtable(L);
  lua_setfield(L, -2, "modules");
  lua_newtable(L);
  lua_pushinteger(L, 0);                 /* heads the list of free places */
  lua_rawseti(L, -2, 0);
  lua_pushvalue(L, -1);
  v->ctx_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_setfield(L, -2, "contexts");
  lua_newtable(L);
  lua_pushvalue(L, -1);
  v->dead_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_setfield(L, -2, "dead");
  lua_pushlightuserdata(L, v);
  lua_pushcclosure(L, pg_lua_log, 1);
  lua_setfield(L, -2, "log_line");
  lua_pushcfunction(L, pg_lua_socket_object);
  lua_setfield(L, -2, "socket_object");
  lua_pushlightuserdata(L, v);
  lua_pushcclosure(L, pg_lua_quick, 1);
  lua_setfield(L, -2, "quick_sockets");
  lua_pushlightuserdata(L, v);
  lua_pushcclosure(L, pg_lua_adopt, 1);
  lua_setfield(L, -2, "adopt");
  lua_pushcfunction(L, pg_lua_pack);
  lua_setfield(L, -2, "pack");
  lua_pushcfunction(L, pg_lua_unpack);
  lua_setfield(L, -2, "unpack");
  lua_pushcfunction(L, pg_lua_call);
  lua_setfield(L, -2, "call");
  lua_setfield(L, LUA_REGISTRYINDEX, BOOT_KEY);
  return 0;
}

/* Takes a state that has its libraries; NULL when memory is short. */
pg_state *pg_open(lua_State *L, size_t limit) {
  pg_state *v = calloc(1, sizeof *v);
  pg_job job = { .v = v };
  if (!v) return NULL;
  v->L = L;
  lua_atpanic(L, on_panic);
  v->vm.slot = pg_slot_new(0, 1 << 20, 1 << 20);
  v->vm.now = pg_wall();
  if (!v->vm.slot || pg_protect(&job, do_open)) { pg_free(v); return NULL; }
  v->used = (size_t)lua_gc(L, LUA_GCCOUNT, 0) * 1024 +
            (size_t)lua_gc(L, LUA_GCCOUNTB, 0);
  pg_bound(v, limit);
  v->alloc = lua_getallocf(L, &v->alloc_ud);
  lua_setallocf(L, pg_counted, v);
  return v;
}

/*
 * Before lua_close: it drops LuaJIT's whole arena at once only when it finds
 * its own allocator in place.
 */
void pg_close_begin(pg_state *v) {
  v->crossings++;
  lua_setallocf(v->L, v->alloc, v->alloc_ud);
}

void pg_free(pg_state *v) {   /* after lua_close, or for a poisoned state */
  if (!v->poisoned) {
    pg_slot_free(v->vm.slot);
    pg_matcher_free(v);
  }
  pg_ring_drop(v->ring);
  free(v->lines);
  free(v->notes);
  free(v);
}

static int do_string(lua_State *L) {
  pg_job *job = lua_touserdata(L, 1);
  lua_getfield(L, LUA_REGISTRYINDEX, BOOT_KEY);
  lua_pushlstring(L, job->b, job->bn);
  lua_setfield(L, -2, job->a);
  return 0;
}

/* A string in the argument table of init.lua. */
void pg_boot_string(pg_state *v, const char *key, const char *p, size_t n) {
  pg_job job = { .v = v, .a = key, .b = p, .bn = n };
  pg_protect(&job, do_string);
}

static int do_module(lua_State *L) {
  pg_job *job = lua_touserdata(L, 1);
  lua_getfield(L, LUA_REGISTRYINDEX, BOOT_KEY);
  lua_getfield(L, -1, "modules");
  lua_pushfstring(L, "=perigee:%s", job->a);
  if (luaL_loadbufferx(L, job->b, job->bn, lua_tostring(L, -1), "bt"))
    return lua_error(L);
  lua_setfield(L, -3, job->a);
  return 0;
}

/* A file of lualib as a function in modules[name]; source or bytecode. */
int pg_boot_module(pg_state *v, const char *name, const char *p, size_t n) {
  pg_job job = { .v = v, .a = name, .b = p, .bn = n };
  return pg_protect(&job, do_module);
}

static int do_boot(lua_State *L) {
  pg_job *job = lua_touserdata(L, 1);
  if (luaL_loadbufferx(L, job->b, job->bn, "=perigee:init", "t"))
    return lua_error(L);
  lua_getfield(L, LUA_REGISTRYINDEX, BOOT_KEY);
  lua_pushvalue(L, -1);
  lua_insert(L, -3);
  lua_call(L, 1, 0);
  lua_getfield(L, -1, "timer_handler");
  job->v->timer_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_getfield(L, -1, "environment");
  lua_setfield(L, LUA_REGISTRYINDEX, ENVIRONMENT_KEY);
  lua_pushnil(L);
  lua_setfield(L, LUA_REGISTRYINDEX, BOOT_KEY);
  return 0;
}

int pg_boot(pg_state *v, const char *p, size_t n) {
  pg_job job = { .v = v, .b = p, .bn = n };
  return pg_protect(&job, do_boot);
}

static int do_compile(lua_State *L) {
  pg_job *job = lua_touserdata(L, 1);
  if (job->bn && job->b[0] == LUA_SIGNATURE[0])
    return luaL_error(L, "%s: bytecode is refused: give Lua source",
                      job->a + 1);
  if (job->bn && job->b[0] == '#') {     /* "#!" line: keep its line end */
    const char *end = memchr(job->b, '\n', job->bn);
    if (!end) end = job->b + job->bn;
    job->bn -= (size_t)(end - job->b);
    job->b = end;
  }
  lua_pushliteral(L, "return function() ");
  lua_pushlstring(L, job->b, job->bn);
  lua_pushliteral(L, "\nend");
  lua_concat(L, 3);
  job->b = lua_tolstring(L, -1, &job->bn);
  if (luaL_loadbufferx(L, job->b, job->bn, job->a, "t")) return lua_error(L);
  lua_call(L, 0, 1);
  if (!lua_isfunction(L, -1))
    return luaL_error(L, "%s: text after the end of the handler", job->a + 1);
  if (job->policy) {
    lua_getfield(L, LUA_REGISTRYINDEX, ENVIRONMENT_KEY);
    lua_pushstring(L, job->policy);
    lua_call(L, 1, 1);
    lua_setfenv(L, -2);
  }
  job->result = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

/*
 * A handler as a registry reference, or -1 with the message in err. Text
 * only. It becomes the body of a function, as in OpenResty: a chunk itself is
 * a vararg function, and the JIT compiler cannot compile the return from one,
 * so no handler would ever be compiled whole. Line numbers stay. policy is
 * what sandbox.lua makes its environment by; NULL: trusted.
 */
int pg_compile(pg_state *v, const char *p, size_t n, const char *chunk,
               const char *policy) {
  pg_job job = { .v = v, .a = chunk, .b = p, .bn = n, .policy = policy };
  return pg_protect(&job, do_compile) ? -1 : job.result;
}

static int do_eval(lua_State *L) {
  pg_job *job = lua_touserdata(L, 1);
  size_t n;
  const char *s;
  if (luaL_loadbufferx(L, job->b, job->bn, "=eval", "t")) return lua_error(L);
  lua_call(L, 0, 1);
  lua_getglobal(L, "tostring");
  lua_insert(L, -2);
  lua_call(L, 1, 1);
  s = lua_tolstring(L, -1, &n);
  pg_set_error(job->v, s ? s : "", s ? n : 0);
  return 0;
}

/* Runs a chunk on the main thread; its first result as text is in err. */
int pg_eval(pg_state *v, const char *p, size_t n) {
  pg_job job = { .v = v, .b = p, .bn = n };
  return pg_protect(&job, do_eval);
}

int pg_do_collect(lua_State *L) {
  lua_gc(L, LUA_GCCOLLECT, 0);
  return 0;
}

int pg_collect(pg_state *v) {
  pg_job job = { .v = v };
  return pg_protect(&job, pg_do_collect);
}
