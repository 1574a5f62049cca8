//go:build cgo && luajit

/*
 * ranges.c: where the watchdog may jump out of a call; why is in watchdog.c.
 *
 *   executable memory                                        may it?
 *   -----------------                                        -------
 *   this program   Go, this package, lua-cjson, libgcc, ...  no
 *                  luajit_text, pcre2_text                   yes
 *   libc, ld.so, C modules, the vdso                         no
 *   of no file     what LuaJIT and PCRE2 compile             yes
 *
 * `make deps` puts the code of the two libraries into sections of these names,
 * to whose ends the linker then gives names. What has no name here is refused,
 * and there is more of it than one thinks: libgcc is linked into the program
 * with the unwinder's lock, its helpers do the atomic operations of our own
 * code on arm64, and gcc puts cold parts of functions far from the rest.
 *
 * Compiled code moves, so the thread reads the list anew before it asks for a
 * jump. It is read apart and published in a moment, under a sequence lock: a
 * handler that meets a list in the making, or sees it change, refuses.
 */
#include "shim.h"

#include <stdio.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { SPANS_MAX = 1024 };

typedef struct span { uintptr_t from, to; } span;

extern const char __start_luajit_text[] __attribute__((weak));
extern const char __stop_luajit_text[] __attribute__((weak));
extern const char __start_pcre2_text[] __attribute__((weak));
extern const char __stop_pcre2_text[] __attribute__((weak));

static span compiled[SPANS_MAX];         /* in ascending order */
static int compiled_n;
static uint32_t edition;                 /* odd while they are written */

static int between(uintptr_t pc, const char *from, const char *to) {
  return pc >= (uintptr_t)from && pc < (uintptr_t)to;
}

static int in_compiled(uintptr_t pc) {
  uint32_t before = __atomic_load_n(&edition, __ATOMIC_ACQUIRE);
  int i, found = 0, n = __atomic_load_n(&compiled_n, __ATOMIC_RELAXED);
  for (i = 0; i < n && !found; i++)
    found = pc >= __atomic_load_n(&compiled[i].from, __ATOMIC_RELAXED) &&
            pc < __atomic_load_n(&compiled[i].to, __ATOMIC_RELAXED);
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  return found && !(before & 1) &&
         before == __atomic_load_n(&edition, __ATOMIC_RELAXED);
}

/* For the signal handler: no locks, and bounded. */
int pg_jump_allowed(uintptr_t pc) {
  return between(pc, __start_luajit_text, __stop_luajit_text) ||
         between(pc, __start_pcre2_text, __stop_pcre2_text) ||
         in_compiled(pc);
}

static void publish(const span *s, int n) {
  int i;
  if (n == compiled_n && !memcmp(s, compiled, (size_t)n * sizeof *s)) return;
  __atomic_store_n(&edition, edition + 1, __ATOMIC_RELAXED);
  __atomic_thread_fence(__ATOMIC_RELEASE);
  for (i = 0; i < n; i++) {
    __atomic_store_n(&compiled[i].from, s[i].from, __ATOMIC_RELAXED);
    __atomic_store_n(&compiled[i].to, s[i].to, __ATOMIC_RELAXED);
  }
  __atomic_store_n(&compiled_n, n, __ATOMIC_RELAXED);
  __atomic_store_n(&edition, edition + 1, __ATOMIC_RELEASE);
}

/*
 * Executable mappings without a file, but the vdso and its like. Neighbours
 * are one: LuaJIT places its areas side by side. Of more than fit, the last
 * are left out.
 */
void pg_ranges_read(void) {
  static span fresh[SPANS_MAX];          /* of the watchdog's thread */
  char line[512];
  FILE *f = fopen("/proc/self/maps", "re");
  int n = 0;
  while (f && fgets(line, sizeof line, f)) {
    unsigned long from, to, inode;
    char mode[8];
    if (sscanf(line, "%lx-%lx %7s %*x %*s %lu", &from, &to, mode, &inode) != 4)
      continue;
    if (mode[2] != 'x' || inode || strstr(line, "[v")) continue;
    if (n && fresh[n - 1].to == from) {
      fresh[n - 1].to = to;
    } else if (n < SPANS_MAX) {
      fresh[n].from = from;
      fresh[n++].to = to;
    }
  }
  if (f) fclose(f);
  publish(fresh, n);
}

/*
 * Whether pg_jump_allowed knows enough: not with a LuaJIT or PCRE2 that
 * `make deps` has not prepared.
 */
int pg_ranges_hold(void) {
  return between((uintptr_t)lua_newstate, __start_luajit_text,
                 __stop_luajit_text) &&
         between((uintptr_t)pcre2_match, __start_pcre2_text,
                 __stop_pcre2_text) &&
         !pg_jump_allowed((uintptr_t)pg_core) &&
         !pg_jump_allowed((uintptr_t)fopen);
}
