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
 * Which coroutine runs next is decided in thread.c.
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

enum { HEAD_ROOM = 1 << 20 };   /* bytes above the limit for reporting errors */

/* Gives a place in the table on top of the stack back, as luaL_unref does: both
   keys are there, so nothing is allocated. */
static void let_go(lua_State *L, uint32_t ref) {
  lua_rawgeti(L, -1, 0);
  lua_rawseti(L, -2, (int)ref);
  lua_pushinteger(L, (lua_Integer)ref);
  lua_rawseti(L, -2, 0);
}

/* ngx.ctx of slots that were released since the last run is garbage now. */
static void forget_contexts(pg_state *v) {
  pg_seat *seat = __atomic_exchange_n(&v->freed, NULL, __ATOMIC_ACQ_REL);
  lua_State *L = v->L;
  lua_rawgeti(L, LUA_REGISTRYINDEX, v->ctx_ref);
  while (seat) {
    pg_seat *next = seat->next_freed;
    pg_slot *s = &seat->slot;
    seat->next_freed = NULL;
    if (s->ctx_ref) let_go(L, s->ctx_ref);
    while (s->ctx_left_n) let_go(L, s->ctx_left[--s->ctx_left_n]);
    s->ctx_ref = 0;
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
  pg_set_error(v, s, n);
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
  if (n > PG_ERR_TRACEBACK) n = PG_ERR_TRACEBACK;
  memcpy(v->trace, s, n);
  v->trace_len = (uint32_t)n;
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

/* The script ran into the memory limit, caught or not: make room. */
static void relieve(pg_state *v) {
  size_t limit = v->limit;
  pg_watch_restart(v);
  pg_bound_run(v, 0);
  if (limit) pg_bound(v, limit + HEAD_ROOM);   /* __gc functions may allocate */
  if (lua_cpcall(v->L, pg_do_collect, NULL)) lua_settop(v->L, 0);
  /* what finalizers let go of is garbage of the next collection only */
  if (v->used > limit / 2 && lua_cpcall(v->L, pg_do_collect, NULL))
    lua_settop(v->L, 0);
  pg_bound(v, limit);
}

static int says_no_memory(const pg_state *v) {
  static const char text[] = "not enough memory";
  return v->err_len == sizeof text - 1 && !memcmp(v->err, text, v->err_len);
}

/* Reports the error that ended co; PG_ERROR, PG_BUDGET or PG_MEMORY. */
int pg_failed(pg_state *v, lua_State *co, int status) {
  size_t limit = v->limit;
  pg_job job = { .v = v, .co = co };
  int kind = status == LUA_ERRMEM ? PG_MEMORY : v->hooked ? PG_BUDGET : PG_ERROR;
  pg_watch_restart(v);
  pg_bound_run(v, 0);
  if (limit) pg_bound(v, limit + HEAD_ROOM);
  if (pg_protect(&job, do_explain)) v->trace_len = 0;
  if (kind == PG_BUDGET && v->struck[0])
    v->err_len = (uint32_t)snprintf(v->err, sizeof v->err, "%s", v->struck);
  if (lua_cpcall(v->L, do_bury, &job)) lua_settop(v->L, 0);
  lua_resetthread(v->L, co);
  pg_bound(v, limit);
  if (kind == PG_ERROR && v->starved && says_no_memory(v)) return PG_MEMORY;
  return kind;
}

/* ---- running ---- */

/* How much a script that was stopped may leave behind for the collector to
 * take away in others' runs, at the cost of their budgets. */
enum { LEFT_MAX = 8 << 20 };

/* A run that began with so much in use has ended with status. */
void pg_relieve(pg_state *v, size_t before, int status) {
  if (v->starved || (status == PG_BUDGET && v->used > before + LEFT_MAX))
    relieve(v);
}

/*
 * Whether the handler of the next phase can follow in this resume: the first has
 * returned, and left nothing that the host looks at in between but edits of
 * fields and variables. The host takes those over in their order, up to then_log,
 * as if it had been asked.
 */
static int is_plain(const pg_state *v, const pg_slot *s) {
  enum { SAID = PG_F_EOF | PG_F_STATUS_SET | PG_F_COMMITTED | PG_F_BODY_SEEN |
                PG_F_REASON | PG_F_RAW | PG_F_ON_ABORT };
  uint32_t at = s->log_done;
  if ((s->flags & SAID) || s->out_len || v->lines_len || v->notes_n ||
      v->starved)
    return 0;
  while (at + sizeof(pg_edit) <= s->log_len) {
    pg_edit e;
    memcpy(&e, s->log + at, sizeof e);
    if (e.kind > PG_EDIT_RESP_CLEAR && e.kind != PG_EDIT_VAR) return 0;
    at += ((uint32_t)sizeof e + e.klen + e.vlen + 7) & ~7u;
  }
  return 1;
}

/* Runs the handler that was named to follow, with a budget of its own. */
static int go_on(pg_state *v, pg_slot *s, pg_run *r, int64_t begin,
                 int64_t budget_ns) {
  int64_t now = pg_mono();
  r->went_on = 1;
  r->first_ns = now - begin;
  r->then_log = s->log_len;
  s->phase = r->phase = r->then_phase;
  pg_make_ready(r, r->entry, 1);
  pg_request_enter();
  v->vm.now = v->vm.fixed != 0 ? v->vm.fixed : pg_watch_now(now);
  v->vm.thread = r->entry;
  pg_bound_run(v, v->run_limit ? v->used + v->run_limit : 0);
  return pg_guarded(v, s, r, (int)r->then_ref, budget_ns);
}

/* pg_entry, where there is one already. */
static pg_thread *entry_of(pg_state *v, pg_slot *s, pg_run *r) {
  pg_thread *t = r->entry;
  if (!t || !t->co) return pg_entry(v, s, r);
  t->run = r;
  t->hidden = 0;
  t->reading = NULL;
  return t;
}

/*
 * The door: one crossing for a phase that does not wait. head..data are Go
 * memory, lent until this returns: slot->in[] is cleared before it does. t is
 * the thread whose op is complete; NULL with ref, which starts a handler.
 */
int pg_resume(pg_state *v, pg_slot *s, pg_run *r, int ref, pg_thread *t,
              const char *head, uint32_t head_n,
              const char *resp, uint32_t resp_n,
              const char *body, uint32_t body_n,
              const char *data, uint32_t data_n, int64_t budget_ns) {
  int64_t begin = pg_mono();
  int status;
  v->crossings++;
  v->starved = 0;
  if (__atomic_load_n(&v->freed, __ATOMIC_RELAXED)) forget_contexts(v);
  if (ref >= 0) t = entry_of(v, s, r);
  if (!t) { v->run_ns = 0; return PG_MEMORY; }
  pg_make_ready(r, t, 1);
  pg_request_enter();
  s->in[PG_IN_HEAD].p = head; s->in[PG_IN_HEAD].n = head_n;
  s->in[PG_IN_RESP].p = resp; s->in[PG_IN_RESP].n = resp_n;
  s->in[PG_IN_BODY].p = body; s->in[PG_IN_BODY].n = body_n;
  s->in[PG_IN_DATA].p = data; s->in[PG_IN_DATA].n = data_n;
  s->phase = r->phase;
  v->vm.now = v->vm.fixed != 0 ? v->vm.fixed : pg_watch_now(begin);
  pg_slot *idle = v->vm.slot;
  v->vm.slot = s;
  v->vm.thread = t;
  pg_bound_run(v, v->run_limit ? v->used + v->run_limit : 0);
  r->went_on = 0;
  status = pg_guarded(v, s, r, ref, budget_ns);
  if (ref >= 0 && r->then_ref && status == PG_DONE && is_plain(v, s))
    status = go_on(v, s, r, begin, budget_ns);
  r->then_ref = 0;
  pg_bound_run(v, 0);
  memset(s->in, 0, sizeof s->in);
  if (status != PG_POISONED) {
    v->vm.slot = idle;
    pg_pace(v);
  }
  v->run_ns = pg_mono() - begin;
  v->ran_ns += v->run_ns;
  return status;
}
