//go:build cgo && luajit

/*
 * A state: opening, booting, compiling, running coroutines, reporting errors.
 *
 * What Go holds, what C holds, who frees it:
 *
 *   Go                     C heap                        Lua heap
 *   shim.State ----------> pg_state { pg_vm, L } ------> main thread (L)
 *   luavm.Slot ----------> pg_seat  { pg_slot }             | registry
 *     its runs ----------> pg_run   { co, ref } ----------> coroutine (ref)
 *   slices lent  - - - - > slot.in[] during one pg_resume
 *
 * pg_seat and pg_run belong to Go's Slot and go back to the heap with it.
 * The coroutine of a run is kept alive by a registry reference and reused: a
 * finished coroutine starts again at once; one that failed or was left by
 * ngx.exit needs lua_resetthread, which only OpenResty's fork has.
 *
 * Every API call here that can raise (allocate, run __gc or __tostring) is
 * inside lua_cpcall: outside it an error would reach the panic function and
 * end the process. lua_rawgeti, lua_settop, lua_resume and lua_resetthread do
 * not raise.
 */
#include "shim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HEAD_ROOM = 1 << 20 };   /* bytes above the limit for reporting errors */

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

/* ---- memory ---- */

/* LuaJIT's own allocator with a count and a ceiling. */
static void *counted(void *ud, void *p, size_t old, size_t want) {
  pg_state *v = ud;
  void *q;
  if (want > old && v->used + (want - old) > v->limit) return NULL;
  q = v->alloc(v->alloc_ud, p, old, want);
  if (q || want == 0) {
    v->used += want - old;
    if (v->used > v->peak) v->peak = v->used;
  }
  return q;
}

static int on_panic(lua_State *L) {
  const char *m = lua_tostring(L, -1);
  fprintf(stderr, "BUG: unprotected Lua error: %s\n", m ? m : "(no message)");
  fflush(stderr);
  abort();
}

/* ---- protected helpers: what lua_cpcall calls ---- */

typedef struct pg_job {
  pg_state *v;
  const char *a; size_t an;
  const char *b; size_t bn;
  lua_State *co;
  int result;
} pg_job;

static void set_text(char *to, uint32_t *to_len, uint32_t max,
                     const char *p, size_t n) {
  if (n > max) n = max;
  memcpy(to, p, n);
  *to_len = (uint32_t)n;
}

static void set_error(pg_state *v, const char *p, size_t n) {
  set_text(v->err, &v->err_len, PG_ERR_MESSAGE, p, n);
  v->trace_len = 0;
}

static void take_error(pg_state *v) {   /* the message lua_cpcall left on L */
  size_t n;
  const char *m = lua_type(v->L, -1) == LUA_TSTRING
                      ? lua_tolstring(v->L, -1, &n) : NULL;
  if (!m) { m = "error object is not a string"; n = strlen(m); }
  set_error(v, m, n);
  lua_settop(v->L, 0);
}

static int protect(pg_job *job, lua_CFunction f) {
  pg_state *v = job->v;
  v->crossings++;
  lua_settop(v->L, 0);
  if (lua_cpcall(v->L, f, job)) { take_error(v); return -1; }
  return 0;
}

/* The tables of the other C files, NULL while such a file is not linked. */
extern const void *pg_request(void) __attribute__((weak));
extern const void *pg_text(void) __attribute__((weak));
extern const void *pg_dict(void) __attribute__((weak));

static void set_pointer(lua_State *L, const char *key, const void *p) {
  lua_pushlightuserdata(L, (void *)(uintptr_t)p);
  lua_setfield(L, -2, key);
}

static const char BOOT_KEY[] = PG_BOOT_KEY;

static int do_open(lua_State *L) {
  pg_job *job = lua_touserdata(L, 1);
  pg_state *v = job->v;
  lua_newtable(L);                       /* what init.lua gets as its argument */
  set_pointer(L, "vm", v);
  set_pointer(L, "core", pg_core());
  if (pg_request) set_pointer(L, "request", pg_request());
  if (pg_text) set_pointer(L, "text", pg_text());
  if (pg_dict) set_pointer(L, "dict", pg_dict());
  lua_newtable(L);
  lua_setfield(L, -2, "modules");
  lua_newtable(L);
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
  if (!v->vm.slot || protect(&job, do_open)) { pg_free(v); return NULL; }
  v->used = (size_t)lua_gc(L, LUA_GCCOUNT, 0) * 1024 +
            (size_t)lua_gc(L, LUA_GCCOUNTB, 0);
  v->limit = limit;
  if (limit) {
    v->alloc = lua_getallocf(L, &v->alloc_ud);
    lua_setallocf(L, counted, v);
  }
  return v;
}

/*
 * Before lua_close: it drops LuaJIT's whole arena at once only when it finds
 * its own allocator in place.
 */
void pg_close_begin(pg_state *v) {
  v->crossings++;
  if (v->alloc) lua_setallocf(v->L, v->alloc, v->alloc_ud);
}

void pg_free(pg_state *v) {   /* after lua_close, or for a poisoned state */
  if (!v->poisoned) pg_slot_free(v->vm.slot);
  free(v->lines);
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
  protect(&job, do_string);
}

static int do_module(lua_State *L) {
  pg_job *job = lua_touserdata(L, 1);
  lua_getfield(L, LUA_REGISTRYINDEX, BOOT_KEY);
  lua_getfield(L, -1, "modules");
  lua_pushfstring(L, "=perigee:%s", job->a);
  if (luaL_loadbufferx(L, job->b, job->bn, lua_tostring(L, -1), "t"))
    return lua_error(L);
  lua_setfield(L, -3, job->a);
  return 0;
}

/* A file of lualib as a function in modules[name]. */
int pg_boot_module(pg_state *v, const char *name, const char *p, size_t n) {
  pg_job job = { .v = v, .a = name, .b = p, .bn = n };
  return protect(&job, do_module);
}

static int do_boot(lua_State *L) {
  pg_job *job = lua_touserdata(L, 1);
  if (luaL_loadbufferx(L, job->b, job->bn, "=perigee:init", "t"))
    return lua_error(L);
  lua_getfield(L, LUA_REGISTRYINDEX, BOOT_KEY);
  lua_call(L, 1, 0);
  lua_pushnil(L);
  lua_setfield(L, LUA_REGISTRYINDEX, BOOT_KEY);
  return 0;
}

int pg_boot(pg_state *v, const char *p, size_t n) {
  pg_job job = { .v = v, .b = p, .bn = n };
  return protect(&job, do_boot);
}

static int do_compile(lua_State *L) {
  pg_job *job = lua_touserdata(L, 1);
  if (luaL_loadbufferx(L, job->b, job->bn, job->a, "t")) return lua_error(L);
  job->result = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

/* A chunk as a registry reference, or -1 with the message in err. Text only. */
int pg_compile(pg_state *v, const char *p, size_t n, const char *chunk) {
  pg_job job = { .v = v, .a = chunk, .b = p, .bn = n };
  return protect(&job, do_compile) ? -1 : job.result;
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
  set_error(job->v, s ? s : "", s ? n : 0);
  return 0;
}

/* Runs a chunk on the main thread; its first result as text is in err. */
int pg_eval(pg_state *v, const char *p, size_t n) {
  pg_job job = { .v = v, .b = p, .bn = n };
  return protect(&job, do_eval);
}

static int do_collect(lua_State *L) {
  lua_gc(L, LUA_GCCOLLECT, 0);
  return 0;
}

int pg_collect(pg_state *v) {
  pg_job job = { .v = v };
  return protect(&job, do_collect);
}

/* ---- slots and runs ---- */

static int do_thread(lua_State *L) {
  pg_job *job = lua_touserdata(L, 1);
  job->co = lua_newthread(L);
  job->result = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

static int run_ready(pg_state *v, pg_run *r) {
  pg_job job = { .v = v };
  if (protect(&job, do_thread)) return -1;
  r->co = job.co;
  r->ref = job.result;
  return 0;
}

pg_run *pg_run_new(void) { return calloc(1, sizeof(pg_run)); }

/* v NULL: the state is gone and its coroutine with it. */
void pg_run_free(pg_state *v, pg_run *r) {
  if (v && r->co) luaL_unref(v->L, LUA_REGISTRYINDEX, r->ref);
  free(r);
}

/* A suspended coroutine that nobody will resume: ready to start again. */
int pg_run_drop(pg_state *v, pg_run *r) {
  v->crossings++;
  if (r->co) lua_resetthread(v->L, r->co);
  return 0;
}

/* ngx.ctx of slots that were released since the last run is garbage now. */
static void forget_contexts(pg_state *v) {
  pg_seat *seat = __atomic_exchange_n(&v->freed, NULL, __ATOMIC_ACQ_REL);
  lua_State *L = v->L;
  lua_rawgeti(L, LUA_REGISTRYINDEX, v->ctx_ref);
  while (seat) {
    pg_seat *next = seat->next_freed;
    seat->next_freed = NULL;
    lua_rawgeti(L, -1, (int)seat->slot.id);
    if (!lua_isnil(L, -1)) {             /* so the key is there: no allocation */
      lua_pushnil(L);
      lua_rawseti(L, -3, (int)seat->slot.id);
    }
    lua_settop(L, -2);
    __atomic_store_n(&seat->freed, 0, __ATOMIC_RELEASE);
    seat = next;
  }
  lua_settop(L, 0);
}

/* ---- errors ---- */

static void push_message(lua_State *L, lua_State *co) {
  int type = lua_type(co, -1);
  if (type == LUA_TSTRING || type == LUA_TNUMBER) {
    lua_pushvalue(co, -1);
    lua_xmove(co, L, 1);
    lua_tostring(L, -1);
    return;
  }
  lua_pushvalue(co, -1);
  lua_xmove(co, L, 1);
  if (luaL_callmeta(L, -1, "__tostring") && lua_type(L, -1) == LUA_TSTRING)
    return;
  lua_pushfstring(L, "(error object is a %s value)", lua_typename(L, type));
}

static const char *frames(lua_State *L, lua_State *co) {
  static const char title[] = "stack traceback:\n";
  const char *s;
  luaL_traceback(L, co, NULL, 0);
  s = lua_tostring(L, -1);
  return strncmp(s, title, sizeof title - 1) ? s : s + sizeof title - 1;
}

/* coroutine 0 is where it happened: the innermost one that died in a wrap. */
static int do_explain(lua_State *L) {
  pg_job *job = lua_touserdata(L, 1);
  pg_state *v = job->v;
  luaL_Buffer b;
  size_t n;
  const char *s;
  int i, dead, count = 0;
  push_message(L, job->co);
  s = lua_tolstring(L, -1, &n);
  set_error(v, s, n);
  lua_rawgeti(L, LUA_REGISTRYINDEX, v->dead_ref);
  dead = lua_gettop(L);
  lua_getfield(L, dead, "message");
  if (lua_rawequal(L, -1, -3)) count = (int)lua_objlen(L, dead);
  luaL_buffinit(L, &b);
  luaL_addstring(&b, "stack traceback:\n");
  luaL_pushresult(&b);
  for (i = 0; i <= count; i++) {
    lua_State *co = job->co;
    if (i < count) {
      lua_rawgeti(L, dead, i + 1);
      co = lua_tothread(L, -1);
      lua_settop(L, -2);
    }
    if (!co) continue;
    lua_pushfstring(L, i ? "\ncoroutine %d:\n%s" : "coroutine %d:\n%s", i,
                    frames(L, co));
    lua_remove(L, -2);
    lua_concat(L, 2);
  }
  s = lua_tolstring(L, -1, &n);
  set_text(v->trace, &v->trace_len, PG_ERR_TRACEBACK, s, n);
  return 0;
}

/* Lets go of coroutines kept for a traceback. */
static int do_bury(lua_State *L) {
  pg_job *job = lua_touserdata(L, 1);
  int n;
  lua_rawgeti(L, LUA_REGISTRYINDEX, job->v->dead_ref);
  for (n = (int)lua_objlen(L, -1); n > 0; n--) {
    lua_pushnil(L);
    lua_rawseti(L, -2, n);
  }
  lua_pushnil(L);
  lua_setfield(L, -2, "message");
  return 0;
}

static int failed(pg_state *v, lua_State *co, int status) {
  size_t limit = v->limit;
  pg_job job = { .v = v, .co = co };
  int kind = status == LUA_ERRMEM ? PG_MEMORY : v->hooked ? PG_BUDGET : PG_ERROR;
  pg_watch_restart(v);
  if (limit) v->limit = limit + HEAD_ROOM;
  if (protect(&job, do_explain)) v->trace_len = 0;
  if (lua_cpcall(v->L, do_bury, &job)) lua_settop(v->L, 0);
  lua_resetthread(v->L, co);
  if (kind == PG_MEMORY && lua_cpcall(v->L, do_collect, NULL))
    lua_settop(v->L, 0);
  v->limit = limit;
  return kind;
}

/* ---- running ---- */

/* ref >= 0 starts that function, else the coroutine goes on after its wait. */
int pg_run_coroutine(pg_state *v, pg_slot *s, pg_run *r, int ref) {
  lua_State *co = r->co;
  int status;
  if (ref >= 0) lua_rawgeti(co, LUA_REGISTRYINDEX, ref);
  status = lua_resume(co, 0);
  while (status == LUA_YIELD) {
    if (s->has_exit) {                   /* ngx.exit yields and never returns */
      lua_resetthread(v->L, co);
      return PG_EXIT;
    }
    if (s->op != PG_OP_NONE) return PG_WAIT;
    status = lua_resume(co, 0);          /* coroutine.yield() of the handler */
  }
  if (status) return failed(v, co, status);
  lua_settop(co, 0);
  return s->has_exit ? PG_EXIT : PG_DONE;
}

/*
 * The door: one crossing for a phase that does not wait. head..data are Go
 * memory, lent until this returns: slot->in[] is cleared before it does.
 */
int pg_resume(pg_state *v, pg_slot *s, pg_run *r, int ref,
              const char *head, uint32_t head_n,
              const char *resp, uint32_t resp_n,
              const char *body, uint32_t body_n,
              const char *data, uint32_t data_n, int64_t budget_ns) {
  int64_t begin = pg_mono();
  int status;
  v->crossings++;
  if (__atomic_load_n(&v->freed, __ATOMIC_RELAXED)) forget_contexts(v);
  if (!r->co && run_ready(v, r)) { v->run_ns = 0; return PG_MEMORY; }
  pg_request_enter();
  s->in[PG_IN_HEAD].p = head; s->in[PG_IN_HEAD].n = head_n;
  s->in[PG_IN_RESP].p = resp; s->in[PG_IN_RESP].n = resp_n;
  s->in[PG_IN_BODY].p = body; s->in[PG_IN_BODY].n = body_n;
  s->in[PG_IN_DATA].p = data; s->in[PG_IN_DATA].n = data_n;
  s->phase = r->phase;
  s->op = PG_OP_NONE;
  s->has_exit = 0;
  v->vm.now = pg_watch_now(begin);
  pg_slot *idle = v->vm.slot;
  v->vm.slot = s;
  status = pg_guarded(v, s, r, ref, budget_ns);
  memset(s->in, 0, sizeof s->in);
  if (status != PG_POISONED) v->vm.slot = idle;
  v->run_ns = pg_mono() - begin;
  return status;
}
