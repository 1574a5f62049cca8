//go:build cgo && luajit

/*
 * The memory of a state: LuaJIT's own allocator with a count and two ceilings.
 *
 *   0 ............................ soft ........ hard (lua.memory_limit)
 *                                    |             |
 *      every allocation is granted   |  granted,   |  refused: LuaJIT raises
 *                                    |  and a hook |  "not enough memory"
 *                                    |  raises it  |  where it stands
 *                                    |  soon after |
 *
 * Why two. An allocator that refuses makes LuaJIT raise the error from where
 * it asked, which may be the middle of recording or assembling a trace, of a
 * table's growth on a trace, of a step of its collector. LuaJIT's releases of
 * 2023 do not survive all of these: heaps were found broken by the collections
 * that followed. So what comes in small pieces, which is what all of those ask
 * for, gets its memory, and a count hook of one instruction raises the error
 * at the script's next instruction, a place where errors are ordinary. Only
 * what asks for more than the strip between the ceilings at once (a string of
 * a gigabyte) is refused on the spot; that is asked for by library functions.
 *
 * Where compiled loops do not look at hooks (stock LuaJIT) they go on to the
 * hard ceiling.
 *
 * The same pair bounds what one resume may add to the heap (lua.request_memory).
 */
#include "shim.h"

enum { STRIP_MAX = 4 << 20 };

static size_t strip(size_t limit) {
  size_t n = limit / 16;
  return n < STRIP_MAX ? n : STRIP_MAX;
}

/* How far below a limit its soft ceiling lies. */
static size_t soft(size_t limit, size_t whole) {
  return limit > strip(whole) ? limit - strip(whole) : 0;
}

/* Whether `after` bytes are beyond a ceiling; soft ones are noted only. */
static int beyond(pg_state *v, size_t after, size_t limit, size_t whole) {
  if (!limit) return 0;
  if (after > limit) return 1;
  if (after > soft(limit, whole)) pg_watch_memory(v);
  return 0;
}

/* Above what is known to be below all ceilings; that is then known anew. */
static __attribute__((noinline)) int refused(pg_state *v, size_t after) {
  size_t near = SIZE_MAX;
  if (beyond(v, after, v->limit, v->limit) ||
      beyond(v, after, v->run_top, v->run_limit)) {
    v->starved = 1;
    return 1;
  }
  if (v->limit) near = soft(v->limit, v->limit);
  if (v->run_top && soft(v->run_top, v->run_limit) < near)
    near = soft(v->run_top, v->run_limit);
  v->near = near;
  return 0;
}

static __attribute__((noinline))
void *changed(pg_state *v, void *p, size_t old, size_t want) {
  size_t after = v->used + (want - old);
  void *q;
  if (__builtin_expect(after > v->near, 0) && want > old && refused(v, after))
    return NULL;
  q = v->alloc(v->alloc_ud, p, old, want);
  if (__builtin_expect(!q, 0)) return NULL;
  v->used = after;
  if (after > v->peak) v->peak = after;
  return q;
}

void *pg_counted(void *ud, void *p, size_t old, size_t want) {
  pg_state *v = ud;
  if (want) return changed(v, p, old, want);
  v->used -= old;
  return v->alloc(v->alloc_ud, p, old, 0);
}

/*
 * The collector's pace. LuaJIT waits until the heap is `pause` percent of what
 * was alive at the end of the last cycle, 200 by default: a heap of 600 KiB,
 * which most are, is marked whole for each 600 KiB of garbage, every 150
 * requests of a small script. Where that is little memory the pause is longer;
 * a state that has grown beyond PG_ROOMY gets the usual one. A pause that a script
 * has set itself stays.
 */
void pg_set_pace(pg_state *v, int want) {
  int was, ours = v->pause ? v->pause : PG_PAUSE_LARGE;
  was = lua_gc(v->L, LUA_GCSETPAUSE, want);
  if (was != ours) {
    lua_gc(v->L, LUA_GCSETPAUSE, was);
    want = -1;
  }
  v->pause = want;
}
