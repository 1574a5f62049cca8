//go:build cgo && luajit

/*
 * The watchdog: ends scripts that use more CPU than their budget.
 *
 *   thread inside Lua (any of Go's)          watchdog thread (one, ours)
 *   -------------------------------          ---------------------------
 *   setjmp(v->jump)
 *   v->budget, tid, clock = ...              every tick, for each state:
 *   v->call++            (odd: inside)         call odd and seen last tick?
 *     lua_resume ...                             read the CPU clock of tid
 *        <---- SIGRTMIN+8 ---- stage 1 ----      over budget: kill_call = call
 *     handler: count hook, 1 instruction         again each tick
 *        <---- SIGRTMIN+8 ---- stage 2 ----      over budget + grace
 *     handler: pc = leap, which longjmps         again until it is allowed
 *   v->call++            (even: outside)
 *
 * Stage 1 sets a count hook of one instruction, which raises an ordinary Lua
 * error: it unwinds, has a traceback, the state stays usable. A script that
 * catches it with pcall meets it again at its next instruction. It is
 * repeated at every tick because LuaJIT saves and restores its hook mask in
 * places, which can lose one. LuaJIT as built by `make deps` (CHECKHOOK and a
 * check in the pattern matcher) tests the hook in compiled loops too; stock
 * LuaJIT does not, so there compiled loops are left to stage 2.
 *
 * Stage 2 abandons the call: the handler makes the thread continue in leap(),
 * which longjmps to the entry (leap.c). The interrupted frames are lost, so the
 * state is poisoned: nobody may touch it again, it is leaked on purpose. It is
 * safe only where the interrupted code holds nothing that others need, so it
 * is refused, and tried again at the next tick, unless
 *   - pc lies in LuaJIT's code, PCRE2's, or what they have compiled (ranges.c):
 *     nothing but the lost state depends on these. Everything else may hold a
 *     lock, as malloc's arenas, stdio, tzset and the unwinder do, or be between
 *     realloc and storing what it returned, as our own code may;
 *   - and vm.crit is 0: a function of ours that Lua calls holds a lock, or calls
 *     the one part of PCRE2 that does.
 *
 * A regular expression is no Lua, so no hook ends it, but it need not cost the
 * state either: while PCRE2 matches, both stages jump by the same rules to the
 * match's own entry, which ends as an error (regex.c has the rest).
 *
 * Why the signal can reach only the right call: kill_call is the number of
 * the call that was seen overdue. The handler acts only if this thread is
 * inside that very call, which it knows from its own thread-local pointer; a
 * signal that comes late finds another number and does nothing. Nothing here
 * waits for anything else, so there is no order of events to get wrong: the
 * worst case of any lost race is one more tick.
 *
 * CPU time, not wall time: on a starved machine a script that got no CPU is
 * innocent. The clock of the thread inside is read only for calls that were
 * already running at the previous tick, so short calls cost nothing.
 *
 * With no calls for a while the thread parks on a condition; the next call
 * sees `parked` and wakes it. Both sides store, then load, with sequential
 * consistency (call then parked; parked then every call), so one sees the
 * other.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
  STATES_MAX = 4096, IDLE_TICKS = 20,
  SLOW_TICK_NS = 10000000, SLOW_TICKS = 8,
  ERROR_PATH_NS = 2000000000  /* budget of reporting one error */
};

#define KILL_SIGNAL (SIGRTMIN + 8)

static __thread pg_state *inside;        /* the state this thread runs now */
static __thread int my_tid;
static __thread clockid_t my_clock;

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static pg_state *states[STATES_MAX];     /* guarded by list_lock */
static int states_n;

static pthread_mutex_t park_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t park_cond = PTHREAD_COND_INITIALIZER;
static int parked;

static int64_t tick_ns, grace_ns;
static int64_t least_budget;             /* of all states, at the last look */
static volatile int64_t wall_minus_mono; /* ns; 0 until the thread runs */
static int can_jump;

/* ---- in the thread that runs Lua ---- */

pg_state *pg_inside(void) { return inside; }

static void on_count(lua_State *L, lua_Debug *ar) {
  (void)ar;
  if (inside && inside->short_of) {
    inside->short_of = 0;                /* pcall may catch it, and free some */
    if (!inside->hooked) lua_sethook(L, NULL, 0, 0);
    lua_pushliteral(L, "not enough memory");
    lua_error(L);
  }
  if (!inside || !inside->hooked) { lua_sethook(L, NULL, 0, 0); return; }
  luaL_where(L, 0);                      /* in a hook, level 0 is the script */
  lua_pushliteral(L, "execution time limit exceeded");
  lua_concat(L, 2);
  /* pcall may catch this one; the next strikes elsewhere, where nobody loops */
  if (!inside->struck[0])
    snprintf(inside->struck, sizeof inside->struck, "%s", lua_tostring(L, -1));
  lua_error(L);
}

static void on_kill(int sig, siginfo_t *info, void *uc) {
  int saved = errno;
  pg_state *v = inside;
  (void)sig;
  (void)info;
  if (v && (v->call & 1) &&
      v->call == __atomic_load_n(&v->kill_call, __ATOMIC_ACQUIRE)) {
    if (v->kill_stage == 1) {
      v->hooked = 1;
      lua_sethook(v->L, on_count, LUA_MASKCOUNT, 1);
      if (v->matching && can_jump) pg_leap(v, uc);
    } else if (v->kill_stage == 2) {
      pg_leap(v, uc);
    }
  }
  errno = saved;
}

static void unhook(pg_state *v) {
  if (!v->hooked && !v->short_of) return;
  v->hooked = v->short_of = 0;
  lua_sethook(v->L, NULL, 0, 0);
}

/* The script in v has come near its limit of memory: see memory.c. */
void pg_watch_memory(pg_state *v) {
  if (v != inside || v->short_of || !(v->call & 1)) return;
  v->starved = 1;
  v->short_of = 1;
  lua_sethook(v->L, on_count, LUA_MASKCOUNT, 1);
}

/* Reporting an error is a call of its own for the watchdog. */
void pg_watch_restart(pg_state *v) {
  if (!(v->call & 1)) return;
  v->budget = v->budget ? ERROR_PATH_NS : 0;
  __atomic_store_n(&v->call, v->call + 2, __ATOMIC_SEQ_CST);
  unhook(v);
}

static void learn_thread(void) {
  my_tid = (int)syscall(SYS_gettid);
  pthread_getcpuclockid(pthread_self(), &my_clock);
}

static void unpark(void) {
  pthread_mutex_lock(&park_lock);
  __atomic_store_n(&parked, 0, __ATOMIC_SEQ_CST);
  pthread_cond_signal(&park_cond);
  pthread_mutex_unlock(&park_lock);
}

/*
 * Runs the coroutine under watch. noinline, and nothing of its frame is used
 * after the jump comes back but thread-local memory: __builtin_longjmp
 * restores the frame and stack pointers only.
 */
__attribute__((noinline))
int pg_guarded(pg_state *v, pg_slot *s, pg_run *r, int ref,
               int64_t budget_ns) {
  size_t before = v->used;
  int status;
  if (!my_tid) learn_thread();
  v->tid = my_tid;
  v->clock = my_clock;
  v->budget = budget_ns;
  v->struck[0] = 0;
  inside = v;
  if (__builtin_setjmp(v->jump)) {
    pg_state *lost = inside;
    inside = NULL;
    __atomic_store_n(&lost->call, lost->call + 1, __ATOMIC_SEQ_CST);
    return PG_POISONED;
  }
  __atomic_store_n(&v->call, v->call + 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&parked, __ATOMIC_SEQ_CST)) unpark();
  status = pg_run_threads(v, s, r, ref);
  if (v->starved || status == PG_BUDGET) pg_relieve(v, before, status);
  __atomic_store_n(&v->call, v->call + 1, __ATOMIC_RELEASE);
  inside = NULL;
  unhook(v);
  return status;
}

double pg_watch_now(int64_t mono_ns) {
  int64_t offset = wall_minus_mono;
  if (!offset) return pg_wall();
  return (double)((mono_ns + offset) / 1000000) * 1e-3;
}

/* ---- the watchdog's own thread ---- */

static void read_offset(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  wall_minus_mono = t.tv_sec * 1000000000LL + t.tv_nsec - pg_mono();
}

/* The stage first: a late signal must not meet this call with another's. */
static void kick(pg_state *v, uint64_t call, int stage) {
  v->kill_stage = stage;
  __atomic_store_n(&v->kill_call, call, __ATOMIC_RELEASE);
  syscall(SYS_tgkill, getpid(), v->tid, KILL_SIGNAL);
}

enum { NOBODY, WAS_INSIDE, IS_INSIDE };

static int inspect(pg_state *v) {
  uint64_t call = __atomic_load_n(&v->call, __ATOMIC_SEQ_CST);
  int64_t budget = v->budget, cpu;
  struct timespec t;
  if (budget > 0 && budget < least_budget) least_budget = budget;
  if (call != v->seen_call) {
    v->seen_call = call;
    v->seen_cpu = -1;
    v->seen_stage = 0;
    return call & 1 ? IS_INSIDE : WAS_INSIDE;
  }
  if (!(call & 1)) return NOBODY;
  if (budget <= 0 || clock_gettime(v->clock, &t)) return WAS_INSIDE;
  cpu = t.tv_sec * 1000000000LL + t.tv_nsec;
  if (v->seen_cpu < 0) { v->seen_cpu = cpu; return IS_INSIDE; }
  if (v->seen_stage == 0 && cpu - v->seen_cpu >= budget) {
    v->seen_stage = 1;
    v->seen_cpu = cpu;
  }
  if (v->seen_stage == 1) {
    if (cpu - v->seen_cpu >= grace_ns && can_jump) {
      v->seen_stage = 2;
    } else {
      if (v->matching && can_jump) pg_ranges_read();
      kick(v, call, 1);
    }
  }
  if (v->seen_stage == 2) {
    pg_ranges_read();
    kick(v, call, 2);
  }
  return IS_INSIDE;
}

static int look(void) {
  int i, most = NOBODY;
  least_budget = SLOW_TICK_NS * SLOW_TICKS;
  pthread_mutex_lock(&list_lock);
  for (i = 0; i < states_n; i++) {
    int one = inspect(states[i]);
    if (one > most) most = one;
  }
  pthread_mutex_unlock(&list_lock);
  return most;
}

/*
 * How long to sleep after a look. A tick costs tens of microseconds on a
 * virtual machine, so it is short only while somebody is inside a state; a
 * call that begins right after a look is then found late by an eighth of the
 * least budget, or 10 ms, at the most.
 */
static int64_t next_tick(int found) {
  int64_t slow = least_budget / SLOW_TICKS;
  return found == IS_INSIDE || slow < tick_ns ? tick_ns : slow;
}

static void park(void) {
  __atomic_store_n(&parked, 1, __ATOMIC_SEQ_CST);
  if (look()) {
    __atomic_store_n(&parked, 0, __ATOMIC_SEQ_CST);
    return;
  }
  pthread_mutex_lock(&park_lock);
  while (__atomic_load_n(&parked, __ATOMIC_SEQ_CST))
    pthread_cond_wait(&park_cond, &park_lock);
  pthread_mutex_unlock(&park_lock);
}

static void *watch(void *unused) {
  int idle = 0, found = IS_INSIDE;
  (void)unused;
  for (;;) {
    int64_t ns = next_tick(found);
    struct timespec tick = { ns / 1000000000, ns % 1000000000 };
    read_offset();
    nanosleep(&tick, NULL);
    found = look();
    idle = found != NOBODY ? 0 : idle + 1;
    if (idle > IDLE_TICKS) { park(); idle = 0; found = IS_INSIDE; }
  }
  return NULL;
}

/* Once per process, after Go's runtime has its own handlers. 0, or errno. */
int pg_watch_start(int64_t tick, int64_t grace) {
  struct sigaction sa;
  sigset_t all, before;
  pthread_t thread;
  int err;
  tick_ns = tick;
  grace_ns = grace;
  can_jump = pg_can_leap();
  memset(&sa, 0, sizeof sa);
  sa.sa_sigaction = on_kill;
  sa.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  sigfillset(&sa.sa_mask);
  if (sigaction(KILL_SIGNAL, &sa, NULL)) return errno;
  read_offset();
  sigfillset(&all);                      /* the new thread inherits the mask */
  pthread_sigmask(SIG_SETMASK, &all, &before);
  err = pthread_create(&thread, NULL, watch, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!err) pthread_detach(thread);
  return err;
}


/* 0, or -1 when there are too many states. */
int pg_watch_add(pg_state *v) {
  int ok;
  pthread_mutex_lock(&list_lock);
  ok = states_n < STATES_MAX;
  if (ok) states[states_n++] = v;
  pthread_mutex_unlock(&list_lock);
  return ok ? 0 : -1;
}

void pg_watch_remove(pg_state *v) {
  int i;
  pthread_mutex_lock(&list_lock);
  for (i = 0; i < states_n; i++) {
    if (states[i] == v) { states[i] = states[--states_n]; break; }
  }
  pthread_mutex_unlock(&list_lock);
}
