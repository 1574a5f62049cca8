//go:build cgo && luajit

/*
 * Light threads: which coroutine of a handler runs next.
 *
 *   pg_seat.threads[]        one pg_thread for each base coroutine, by index
 *   pg_run (a handler)
 *     entry ---------------> the thread that runs the handler itself
 *     ready: a -> b -> c     they run in this order
 *     fresh: d -> e          began to wait for the host in this resume
 *
 *                     core.ready, Go's resume
 *        PARKED, WAITING ----------------------> READY
 *            ^     ^                               | its turn
 *       PARK |     | op                            v
 *            '-----'---------------------------- RUNNING --> ends: FREE
 *                                                  | coroutine.yield()
 *                                                  '--> READY, last
 *
 * One resume runs everything that is ready, however many threads that is, and
 * goes back to Go once with all the ops that have come up. Coroutines that a
 * script makes itself are not threads: they yield through their resumers to
 * the base coroutine (coroutine.lua), which is what is suspended and resumed
 * here.
 *
 * A thread that is killed while Go has its op keeps its struct until Go gives
 * the op back (KILLED), so an index never means two ops at once. The same
 * holds for all threads of a handler that ends by ngx.exit or an error; Go is
 * told by notes to cut their ops short.
 *
 * Who may touch what: everything here is reached by the thread that runs the
 * state (under the VM's lock), except pg_thread_recycle, which Go calls for a
 * seat that it owns and that does not run.
 *
 * Coroutines are kept alive by registry references: luaL_unref neither
 * allocates nor raises. The entry's coroutine is recycled: a finished one
 * starts again at once; one that failed or was left by ngx.exit needs
 * lua_resetthread, which only OpenResty's fork has.
 */
#include "shim.h"

#include <stdlib.h>
#include <string.h>

enum {
  NOTES_MAX = 1 << 20,
  PATIENCE = 16              /* yields in a row before Go may look at its ops */
};

/* ---- memory ---- */

static pg_thread *thread_new(pg_seat *seat) {
  pg_thread *t = seat->threads_free;
  if (t) {
    seat->threads_free = t->next;
    t->next = NULL;
    return t;
  }
  if (seat->threads_n == seat->threads_cap) {
    uint32_t cap = seat->threads_cap ? 2 * seat->threads_cap : 4;
    pg_thread **more = realloc(seat->threads, cap * sizeof *more);
    if (!more) return NULL;
    seat->threads = more;
    seat->threads_cap = cap;
  }
  t = calloc(1, sizeof *t);
  if (!t) return NULL;
  t->slot_id = seat->slot.id;
  t->index = seat->threads_n;
  seat->threads[seat->threads_n++] = t;
  return t;
}

/* A thread that ended, or whose op Go gave back after its death. */
void pg_thread_recycle(pg_seat *seat, pg_thread *t) {
  t->state = PG_THREAD_FREE;
  t->op = PG_OP_NONE;
  t->hidden = 0;
  t->reading = NULL;
  t->co = NULL;
  t->run = NULL;
  t->next = seat->threads_free;
  seat->threads_free = t;
}

void pg_threads_free(pg_seat *seat) {
  uint32_t i;
  for (i = 0; i < seat->threads_n; i++) free(seat->threads[i]);
  free(seat->threads);
}

pg_run *pg_run_new(void) { return calloc(1, sizeof(pg_run)); }

static void let_go(pg_state *v, pg_thread *t) {
  if (v && t->co) luaL_unref(v->L, LUA_REGISTRYINDEX, t->ref);
  t->co = NULL;
}

/* v NULL: the state is gone and its coroutines with it. */
void pg_run_free(pg_state *v, pg_run *r) {
  if (r->entry) let_go(v, r->entry);
  free(r);
}

static int do_thread(lua_State *L) {
  pg_job *job = lua_touserdata(L, 1);
  job->co = lua_newthread(L);
  job->result = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

/* The thread that runs a handler, with a coroutine; NULL: no memory. */
pg_thread *pg_entry(pg_state *v, pg_slot *s, pg_run *r) {
  pg_thread *t = r->entry;
  if (!t) {
    t = r->entry = thread_new((pg_seat *)s);
    if (!t) return NULL;
  }
  if (!t->co) {
    pg_job job = { .v = v };
    if (pg_protect(&job, do_thread)) return NULL;
    t->co = job.co;
    t->ref = job.result;
  }
  t->run = r;
  t->hidden = 0;
  t->reading = NULL;
  return t;
}

/* ---- lists ---- */

void pg_make_ready(pg_run *r, pg_thread *t, int next) {
  if (t->state == PG_THREAD_WAITING) r->waiting--;
  t->state = PG_THREAD_READY;
  if (next) {
    t->next = r->ready;
    r->ready = t;
    if (!r->ready_last) r->ready_last = t;
    return;
  }
  t->next = NULL;
  if (r->ready_last) r->ready_last->next = t;
  else r->ready = t;
  r->ready_last = t;
}

static pg_thread *take_ready(pg_run *r) {
  pg_thread *t = r->ready;
  if (!t) return NULL;
  r->ready = t->next;
  if (!r->ready) r->ready_last = NULL;
  t->next = NULL;
  return t;
}

static void unlist(pg_thread **first, pg_thread **last, pg_thread *t) {
  pg_thread *before = NULL, *p = *first;
  while (p && p != t) { before = p; p = p->next; }
  if (!p) return;
  if (before) before->next = t->next;
  else *first = t->next;
  if (*last == t) *last = before;
  t->next = NULL;
}

static void now_waits(pg_run *r, pg_thread *t) {
  t->state = PG_THREAD_WAITING;
  t->serial++;
  t->next = NULL;
  r->waiting++;
  if (r->fresh_last) r->fresh_last->next = t;
  else r->fresh = t;
  r->fresh_last = t;
}

/* ---- for Lua ---- */

int pg_note_add(pg_vm *vm, uint32_t kind, uint32_t a, uint32_t b, double num) {
  pg_state *v = (pg_state *)vm;
  if (v->notes_n == v->notes_cap) {
    uint32_t cap = v->notes_cap ? 2 * v->notes_cap : 64;
    pg_note *more;
    if (cap > NOTES_MAX) return -1;
    more = realloc(v->notes, cap * sizeof *more);
    if (!more) return -1;
    v->notes = more;
    v->notes_cap = cap;
  }
  v->notes[v->notes_n++] = (pg_note){ .kind = kind, .a = a, .b = b,
                                      .num = num };
  return 0;
}

/* adopt(co, hidden): a thread of the running handler for a new coroutine. */
int pg_lua_adopt(lua_State *L) {
  pg_state *v = lua_touserdata(L, lua_upvalueindex(1));
  lua_State *co = lua_tothread(L, 1);
  pg_thread *t = thread_new((pg_seat *)v->vm.slot);
  pg_run *r = v->vm.thread->run;
  if (!t || !co) return luaL_error(L, "no memory");
  t->state = PG_THREAD_PARKED;
  t->hidden = lua_toboolean(L, 2);
  t->run = r;
  lua_settop(L, 1);
  t->ref = luaL_ref(L, LUA_REGISTRYINDEX);
  t->co = co;
  r->others++;
  if (!t->hidden) r->alive++;
  lua_pushlightuserdata(L, t);
  return 1;
}

void pg_core_ready(pg_vm *vm, pg_thread *t, int32_t next) {
  (void)vm;
  if (t->state == PG_THREAD_PARKED) pg_make_ready(t->run, t, next);
}

/* Its coroutine is never resumed; it leaves all lists. */
static void end_thread(pg_state *v, pg_seat *seat, pg_run *r, pg_thread *t) {
  let_go(v, t);
  switch (t->state) {
  case PG_THREAD_WAITING:
    r->waiting--;
    if (r->fresh) {          /* Go may not have heard of it yet */
      pg_thread *p = r->fresh;
      while (p && p != t) p = p->next;
      if (p) {
        unlist(&r->fresh, &r->fresh_last, t);
        pg_sock_orphan(t, 0);
        break;
      }
    }
    pg_sock_orphan(t, 1);
    t->state = PG_THREAD_KILLED;
    t->run = NULL;
    pg_note_add(&v->vm, PG_NOTE_CANCEL, t->slot_id, t->index, 0);
    return;
  case PG_THREAD_READY:
    unlist(&r->ready, &r->ready_last, t);
    break;
  default:
    break;
  }
  pg_thread_recycle(seat, t);
}

void pg_core_kill(pg_vm *vm, pg_thread *t) {
  pg_run *r = t->run;
  if (!r || t == vm->thread || t == r->entry) return;
  r->others--;
  if (!t->hidden) r->alive--;
  end_thread((pg_state *)vm, (pg_seat *)vm->slot, r, t);
}

int32_t pg_core_waiting(pg_vm *vm, uint32_t op) {
  pg_seat *seat = (pg_seat *)vm->slot;
  int32_t n = 0;
  uint32_t i;
  for (i = 0; i < seat->threads_n; i++) {
    const pg_thread *t = seat->threads[i];
    n += t->state == PG_THREAD_WAITING && t->op == op &&
         t->run == vm->thread->run;
  }
  return n;
}

void pg_core_show(pg_vm *vm) {
  pg_thread *t = vm->thread;
  if (!t->hidden) return;
  t->hidden = 0;
  ((pg_run *)t->run)->alive++;
}

/* ---- running ---- */

/* The handler is over: whatever of it is left goes with it. */
static void end_all(pg_state *v, pg_slot *s, pg_run *r) {
  pg_seat *seat = (pg_seat *)s;
  pg_thread *entry = r->entry;
  uint32_t i;
  for (i = 0; i < seat->threads_n; i++) {
    pg_thread *t = seat->threads[i];
    if (t->run == r && t != entry) end_thread(v, seat, r, t);
  }
  if (entry->state == PG_THREAD_WAITING) {
    r->entry = NULL;         /* its struct stays with Go's op */
    end_thread(v, seat, r, entry);
  } else {
    if (entry->co) lua_resetthread(v->L, entry->co);
    entry->state = PG_THREAD_PARKED;
  }
  r->ready = r->ready_last = r->fresh = r->fresh_last = NULL;
  r->alive = r->others = r->waiting = 0;
}

/* A suspended handler that nobody will resume; none of its ops is with Go. */
void pg_run_drop(pg_state *v, pg_slot *s, pg_run *r) {
  pg_seat *seat = (pg_seat *)s;
  uint32_t i;
  v->crossings++;
  if (r->entry) end_all(v, s, r);
  for (i = 0; i < seat->threads_n; i++) {
    pg_thread *t = seat->threads[i];
    if (t->state == PG_THREAD_KILLED) pg_thread_recycle(seat, t);
  }
}

static void finished(pg_state *v, pg_seat *seat, pg_run *r, pg_thread *t) {
  if (!t->hidden) r->alive--;
  if (t == r->entry) {
    lua_settop(t->co, 0);
    t->state = PG_THREAD_PARKED;
    return;
  }
  r->others--;
  let_go(v, t);
  pg_thread_recycle(seat, t);
}

/* ref >= 0 starts that function, else threads that are ready go on. */
int pg_run_threads(pg_state *v, pg_slot *s, pg_run *r, int ref) {
  pg_thread *t;
  s->has_exit = r->has_exit;
  if (ref >= 0) {
    r->alive = 1;
    s->has_exit = 0;
    lua_rawgeti(r->entry->co, LUA_REGISTRYINDEX, ref);
  }
  while ((t = take_ready(r))) {
    lua_State *co = t->co;
    int status;
    v->vm.thread = t;
    t->state = PG_THREAD_RUNNING;
    t->op = PG_OP_NONE;
    status = lua_resume(co, 0);
    if (status == 0) {
      finished(v, (pg_seat *)s, r, t);
      if (!r->alive) break;
      continue;
    }
    if (status != LUA_YIELD) {
      int kind = pg_failed(v, co, status);
      end_all(v, s, r);
      return kind;
    }
    /* What was yielded is for coroutine.resume of a script between. LuaJIT for
       arm64 takes what is left of it for results where a C function yielded. */
    lua_settop(co, 0);
    switch (t->op) {
    case PG_OP_LEAVE:                    /* ngx.exit yields and never returns */
      end_all(v, s, r);
      return PG_EXIT;
    case PG_OP_PARK:
      t->state = PG_THREAD_PARKED;
      break;
    case PG_OP_NONE:                     /* coroutine.yield() of a thread */
      if (r->waiting && ++r->yields % PATIENCE == 0) {
        t->op = PG_OP_SLEEP;             /* others' ops may be complete */
        t->op_num = 0;
        now_waits(r, t);
        break;
      }
      pg_make_ready(r, t, 0);
      break;
    default:
      now_waits(r, t);
    }
  }
  r->has_exit = s->has_exit;
  if (r->alive) return PG_WAIT;
  if (r->others) end_all(v, s, r);       /* hidden ones */
  return s->has_exit ? PG_EXIT : PG_DONE;
}
