//go:build cgo && luajit

/*
 * Where the watchdog must not jump out of a call; why is in watchdog.c.
 */
#include "shim.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

enum { RANGES_MAX = 256 };

typedef struct pg_ranges {
  int n;
  struct { uintptr_t from, to; } at[RANGES_MAX];
} pg_ranges;

/* Two copies: the thread fills the one the handler does not look at. */
static pg_ranges range_copies[2];
static pg_ranges *volatile forbidden;

static int in_range(const void *p, uintptr_t from, uintptr_t to) {
  return (uintptr_t)p >= from && (uintptr_t)p < to;
}

int pg_jump_forbidden(uintptr_t pc) {
  const pg_ranges *r = forbidden;
  int i;
  if (!r || (pc >= (uintptr_t)pg_text_begin && pc <= (uintptr_t)pg_text_end))
    return 1;
  for (i = 0; i < r->n; i++)
    if (pc >= r->at[i].from && pc < r->at[i].to) return 1;
  return 0;
}

/* Executable mappings of files and the vdso, but this program and LuaJIT. */
void pg_ranges_read(void) {
  pg_ranges *r = forbidden == &range_copies[0] ? &range_copies[1]
                                               : &range_copies[0];
  char line[512];
  FILE *f = fopen("/proc/self/maps", "re");
  int n = 0;
  if (!f) { forbidden = NULL; return; }
  while (n >= 0 && fgets(line, sizeof line, f)) {
    unsigned long from, to, inode;
    char mode[8];
    if (sscanf(line, "%lx-%lx %7s %*x %*s %lu", &from, &to, mode, &inode) != 4)
      continue;
    if (mode[2] != 'x' || (!inode && !strstr(line, "[v"))) continue;
    if (in_range((void *)(uintptr_t)pg_core, from, to) ||
        in_range((void *)(uintptr_t)lua_newstate, from, to))
      continue;
    if (n == RANGES_MAX) { n = -1; break; }    /* cannot tell: forbid all */
    r->at[n].from = from;
    r->at[n].to = to;
    n++;
  }
  fclose(f);
  if (n >= 0) r->n = n;
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  forbidden = n < 0 ? NULL : r;
}

/*
 * Whether pg_jump_forbidden can be believed: libc inside this program would
 * hide its locks, and another order of linking our own code.
 */
int pg_ranges_hold(void) {
  void *p = dlsym(RTLD_DEFAULT, "malloc");
  const uintptr_t ours[] = {
    (uintptr_t)pg_core, (uintptr_t)pg_request, (uintptr_t)pg_text,
    (uintptr_t)pg_dict, (uintptr_t)pg_regexes, (uintptr_t)pg_resume,
    (uintptr_t)pg_lua_log,
  };
  size_t i;
  pg_ranges_read();
  for (i = 0; i < sizeof ours / sizeof *ours; i++)
    if (!pg_jump_forbidden(ours[i])) return 0;
  return p && pg_jump_forbidden((uintptr_t)p) &&
         !pg_jump_forbidden((uintptr_t)lua_newstate);
}
