/*
 * The private side of the bridge: what vm.c, watchdog.c, request.c, text.c,
 * shdict.c and regex.c share. Lua and the FFI see only perigee_ffi.h.
 */
#ifndef PERIGEE_SHIM_H
#define PERIGEE_SHIM_H

#include <lua.h>
#include <lauxlib.h>
#include <lualib.h>
#include <luajit.h>
#include <stddef.h>
#include <stdint.h>

#include "metrics_ffi.h"

enum {                       /* what pg_resume answers */
  PG_DONE = 0,               /* the handler returned */
  PG_WAIT = 1,               /* slot->op says what for */
  PG_EXIT = 2,               /* ngx.exit: slot->exit_code */
  PG_ERROR = 3,              /* Lua error: pg_state.err */
  PG_BUDGET = 4,             /* CPU budget used up, ended as a Lua error */
  PG_MEMORY = 5,             /* memory limit, ended as a Lua error */
  PG_POISONED = 6            /* jumped out of: never touch this state again */
};

/*
 * One handler of a seat under way, with its light threads. A seat has several
 * when filters run while the content handler is suspended. Recycled.
 */
typedef struct pg_run {
  pg_thread *entry;          /* runs the handler; its coroutine is recycled */
  pg_thread *ready, *ready_last;
  pg_thread *fresh, *fresh_last;   /* began to wait in this resume: for Go */
  uint32_t phase;            /* PG_PHASE_*, copied to the slot at each entry */
  uint32_t alive;            /* threads the handler waits for, entry included */
  uint32_t others;           /* threads beside the entry */
  uint32_t waiting;          /* threads whose op is with Go */
  uint32_t yields;
  uint32_t has_exit;         /* ngx.exit that lets the handler run on */

  /* The handler that follows in the same resume, if this one just returns: */
  uint32_t then_ref;         /* what pg_compile gave; 0: none */
  uint32_t then_phase;
  uint32_t then_log;         /* went on: the edits before are the first one's */
  uint32_t went_on;
  int64_t first_ns;          /* and this is what it took */
} pg_run;

/* A slot and what Lua must not see of it. slot is first: casts both ways. */
typedef struct pg_seat {
  pg_slot slot;
  struct pg_seat *next_freed;
  uint32_t freed;            /* 1: in pg_state.freed, its ngx.ctx is garbage */
  uint32_t log_max, out_max; /* bytes; edit() and print() refuse above */
  pg_thread **threads;       /* all of the seat, by index */
  uint32_t threads_n, threads_cap;
  pg_thread *threads_free;
  pg_link sockets;           /* of the exchange; see socket.c */
} pg_seat;

/* Go's, by what it gave with it: see fill.c. 0, or -1 when memory is short. */
typedef int (*pg_filler)(uintptr_t of, uint32_t slot, uint32_t parts);

enum { PG_ERR_MESSAGE = 4096, PG_ERR_TRACEBACK = 12288 };

typedef struct pg_state {
  pg_vm vm;                  /* first: Lua's view of this state */
  lua_State *L;
  pg_seat *freed;            /* pushed by Go without the lock, taken by C */
  int ctx_ref;               /* registry: the tables of ngx.ctx by pg_slot.ctx_ref */
  int dead_ref;              /* registry: coroutines that died in wrap() */
  int timer_ref;             /* registry: what runs handlers of ngx.timer */
  uint64_t crossings;        /* entries from Go */
  pg_filler filler; uintptr_t filler_of;   /* see fill.c */

  pg_note *notes; uint32_t notes_n, notes_cap;   /* taken by Go after a run */

  pg_link kept;              /* sockets in pools, of no exchange */
  uint32_t kept_n;           /* how many were ever kept; wraps */

  char *lines;               /* log lines: pg_line, text, padded to 8 */
  uint32_t lines_len, lines_cap, lines_lost;

  char err[PG_ERR_MESSAGE], trace[PG_ERR_TRACEBACK];
  uint32_t err_len, trace_len;
  int64_t run_ns, ran_ns;    /* wall time of the last run; of all */

  lua_Alloc alloc; void *alloc_ud;
  size_t used, limit, peak;  /* bytes of Lua heap; limit 0: none */
  size_t run_limit;          /* by how much one resume may make it grow; 0 */
  size_t run_top;            /* so it must stay below this; 0: no bound */
  size_t near;               /* below all ceilings; 0: to be found out */
  int pause;                 /* what pg_pace has set; 0: nothing, -1: hands off */
  int starved;               /* the last run met the limit */
  int short_of;              /* a hook is to raise "not enough memory" */

  /* watchdog.c; the picture is there */
  volatile uint64_t call;    /* odd while inside Lua */
  volatile int64_t budget;   /* ns of CPU for this call, 0: unlimited */
  volatile int tid;
  volatile int clock;        /* clockid_t of the thread inside */
  volatile uint64_t kill_call;
  volatile int kill_stage, hooked, poisoned;
  char struck[160];          /* where the budget's end met the script first */
  uint64_t seen_call; int64_t seen_cpu; int seen_stage;  /* its thread only */
  uint64_t refused;          /* jumps put off: where they are not allowed */
  struct pg_ring *ring;      /* where log lines are captured, or NULL */
  void *jump[5];             /* __builtin_setjmp */

  /* regex.c; the picture is there */
  struct pg_matcher *matcher;   /* NULL until the first pattern */
  uint32_t match_limit;
  volatile int matching;     /* inside PCRE2, which can be left by match_jump */
  void *match_jump[5];
} pg_state;

typedef struct pg_line { int32_t level; uint32_t n; } pg_line;

/* ---- tables of functions for Lua; each lives in the file of its name ---- */
const pg_core_api *pg_core(void);
const pg_request_api *pg_request(void);
const pg_text_api *pg_text(void);
const pg_dict_api *pg_dict(void);
const pg_limit_api *pg_limits(void);
const pg_regex_api *pg_regexes(void);
const pg_metrics_api *pg_metrics(void);

/* ---- regex.c ---- */
void pg_matcher_free(pg_state *);
const pg_socket_api *pg_sockets(void);

/* ---- request_view.c: at the start of every resume ---- */
void pg_request_enter(void);

/* ---- fill.c ---- */
void pg_fill_by(pg_state *, pg_filler, uintptr_t of);

/* ---- memory.c ---- */
void *pg_counted(void *state, void *p, size_t old, size_t want);
/* Every change of a ceiling goes through these two. */
static inline void pg_bound(pg_state *v, size_t limit) {
  v->limit = limit;
  v->near = 0;
}
static inline void pg_bound_run(pg_state *v, size_t top) {
  v->run_top = top;
  v->near = 0;
}

/* The collector's pace, see there. */
enum { PG_ROOMY = 8 << 20, PG_PAUSE_SMALL = 400, PG_PAUSE_LARGE = 200 };
void pg_set_pace(pg_state *, int pause);
static inline void pg_pace(pg_state *v) {    /* after a run */
  int want = v->used > PG_ROOMY ? PG_PAUSE_LARGE : PG_PAUSE_SMALL;
  if (want != v->pause && v->pause >= 0) pg_set_pace(v, want);
}

/* ---- state.c ---- */
typedef struct pg_job {      /* arguments of a protected call */
  pg_state *v;
  const char *a;
  const char *b; size_t bn;
  const char *policy;
  lua_State *co;
  int result;
} pg_job;

int pg_protect(pg_job *, lua_CFunction);  /* 0, or -1 with the message in err */
void pg_set_error(pg_state *, const char *p, size_t n);
int pg_do_collect(lua_State *);
#define PG_BOOT_KEY "perigee.boot"   /* registry: the argument of init.lua */
pg_state *pg_open(lua_State *L, size_t limit);
void pg_close_begin(pg_state *);
void pg_free(pg_state *);
int pg_boot(pg_state *, const char *src, size_t n);
void pg_boot_string(pg_state *, const char *key, const char *p, size_t n);
int pg_boot_module(pg_state *, const char *name, const char *p, size_t n);
int pg_compile(pg_state *, const char *p, size_t n, const char *chunk,
               const char *policy);
int pg_eval(pg_state *, const char *p, size_t n);
int pg_collect(pg_state *);
void pg_nothing(void);
int64_t pg_mono(void);           /* ns */
double pg_wall(void);            /* seconds since the epoch, whole ms */

/* ---- vm.c ---- */
int pg_resume(pg_state *, pg_slot *, pg_run *, int ref, pg_thread *,
              const char *head, uint32_t head_n,
              const char *resp, uint32_t resp_n,
              const char *body, uint32_t body_n,
              const char *data, uint32_t data_n, int64_t budget_ns);
void pg_relieve(pg_state *, size_t before, int status);
int pg_failed(pg_state *, lua_State *co, int status);

/* ---- thread.c ---- */
pg_run *pg_run_new(void);
void pg_run_free(pg_state *, pg_run *);
void pg_run_drop(pg_state *, pg_slot *, pg_run *);
int pg_run_threads(pg_state *, pg_slot *, pg_run *, int ref);
pg_thread *pg_entry(pg_state *, pg_slot *, pg_run *);
void pg_make_ready(pg_run *, pg_thread *, int next);
void pg_thread_recycle(pg_seat *, pg_thread *);
void pg_threads_free(pg_seat *);
int pg_lua_adopt(lua_State *);
void pg_core_ready(pg_vm *, pg_thread *, int32_t next);
void pg_core_kill(pg_vm *, pg_thread *);
int32_t pg_core_waiting(pg_vm *, uint32_t op);
void pg_core_show(pg_vm *);
int pg_note_add(pg_vm *, uint32_t kind, uint32_t a, uint32_t b, double num);

/* ---- carry.c ---- */
int pg_lua_pack(lua_State *);
int pg_lua_unpack(lua_State *);
int pg_lua_call(lua_State *);

/* ---- socket.c, socket_pool.c, socket_quick.c ---- */
int pg_lua_socket_object(lua_State *);
int pg_lua_quick(lua_State *);
void pg_sock_orphan(const pg_thread *, int with_go);
void pg_seat_shut_sockets(pg_slot *);
int pg_sweep_sockets(pg_state *, int all);

/* ---- buffers.c ---- */
pg_slot *pg_slot_new(uint32_t id, uint32_t log_max, uint32_t out_max);
void pg_slot_shrink(pg_slot *);
int pg_slot_print(pg_slot *, const char *p, uint32_t n);
void pg_slot_free(pg_slot *);
void pg_line_add(pg_state *, int level, const char *p, size_t n);

/* ---- ring.c ---- */
typedef struct pg_ring pg_ring;
pg_ring *pg_ring_new(uint32_t size);          /* with one user; NULL: no memory */
pg_ring *pg_ring_hold(pg_ring *);             /* one user more; NULL is allowed */
void pg_ring_drop(pg_ring *);                 /* the last user frees it */
void pg_ring_put(pg_ring *, int level, double time, const char *p, size_t n);
void pg_capture(pg_state *, int level, const char *p, size_t n);

/* ---- log.c ---- */
int pg_lua_log(lua_State *);

/* ---- watchdog.c ---- */
int pg_watch_start(int64_t tick_ns, int64_t grace_ns);
int pg_watch_add(pg_state *);
void pg_watch_remove(pg_state *);
void pg_watch_restart(pg_state *);
void pg_watch_memory(pg_state *);
double pg_watch_now(int64_t mono_ns);
pg_state *pg_inside(void);        /* what this thread runs now, or NULL */
int pg_guarded(pg_state *, pg_slot *, pg_run *, int ref, int64_t budget_ns);

/* ---- leap.c ---- */
int pg_can_leap(void);
void pg_leap(pg_state *, void *context);

/* ---- ranges.c ---- */
void pg_ranges_read(void);        /* before pg_jump_allowed is asked */
int pg_jump_allowed(uintptr_t pc);
int pg_ranges_hold(void);         /* 0: pg_jump_allowed knows too little */

/* ---- probe.c ---- */
int pg_hardened(void);

/* ---- regex_compile.c ---- */
int pg_regex_jit(void);

#endif
