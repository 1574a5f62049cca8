//go:build cgo && luajit

/*
 * Buffers in C memory that Lua fills and Go drains: edits and output of a
 * slot, log lines of a state. They grow by doubling up to a bound and are
 * given back when an exchange ends if it made them big.
 */
#include "shim.h"

#include <stdlib.h>
#include <string.h>

enum {
  KEEP = 16 << 10,           /* a recycled slot keeps at most this, in bytes */
  LINE_TEXT = 4096,           /* text of one log line */
  LINES_MAX = 256 << 10,     ARENA_MAX = 16 << 20       /* variables of one slot, in bytes */
};

static int reserve(char **p, uint32_t *cap, uint32_t len, uint64_t more,
                   uint32_t max) {
  uint64_t need = len + more, size = *cap ? *cap : 512;
  char *old = *p, *q;
  if (need <= *cap) return 0;
  if (need > max) return -1;
  while (size < need) size *= 2;
  if (size > max) size = max;
  /* Should the watchdog jump out between realloc and the store behind it, the
     memory is lost with the state, not freed twice. */
  *(char *volatile *)p = NULL;
  q = realloc(old, size);
  if (!q) { *p = old; return -1; }
  *p = q;
  *cap = (uint32_t)size;
  return 0;
}

static int add_edit(pg_slot *s, uint32_t kind, uint32_t aux,
                    const char *k, uint32_t kn, const char *v, uint32_t vn) {
  pg_edit e = { .kind = kind, .aux = aux, .klen = kn, .vlen = vn };
  uint64_t size = (sizeof e + (uint64_t)kn + vn + 7) & ~7ULL;
  char *p;
  if (reserve(&s->log, &s->log_cap, s->log_len, size,
              ((pg_seat *)s)->log_max))
    return -1;
  p = s->log + s->log_len;
  memcpy(p, &e, sizeof e);
  if (kn) memcpy(p + sizeof e, k, kn);
  if (vn) memcpy(p + sizeof e + kn, v, vn);
  s->log_len += (uint32_t)size;
  return 0;
}

static int add_output(pg_slot *s, const char *p, uint32_t n) {
  if (reserve(&s->out, &s->out_cap, s->out_len, n, ((pg_seat *)s)->out_max))
    return -1;
  if (n) memcpy(s->out + s->out_len, p, n);
  s->out_len += n;
  return 0;
}

void pg_line_add(pg_state *v, int level, const char *p, size_t n) {
  pg_line line;
  uint32_t size;
  if (n > LINE_TEXT) n = LINE_TEXT;
  if (v->ring) pg_capture(v, level, p, n);
  line.level = level;
  line.n = (uint32_t)n;
  size = (uint32_t)((sizeof line + n + 7) & ~(size_t)7);
  if (reserve(&v->lines, &v->lines_cap, v->lines_len, size, LINES_MAX)) {
    v->lines_lost++;
    return;
  }
  memcpy(v->lines + v->lines_len, &line, sizeof line);
  memcpy(v->lines + v->lines_len + sizeof line, p, n);
  v->lines_len += size;
}

static void add_line(pg_vm *vm, int32_t level, const char *p, uint32_t n) {
  pg_line_add((pg_state *)vm, level, p, n);
}

static void update_time(pg_vm *vm) {
  vm->now = vm->fixed != 0 ? vm->fixed : pg_wall();
}

const pg_core_api *pg_core(void) {
  static const pg_core_api api = {
    .update_time = update_time, .edit = add_edit,
    .print = add_output, .log = add_line,
    .ready = pg_core_ready, .kill = pg_core_kill,
    .waiting = pg_core_waiting, .show = pg_core_show, .note = pg_note_add,
  };
  return &api;
}

pg_slot *pg_slot_new(uint32_t id, uint32_t log_max, uint32_t out_max) {
  pg_seat *seat = calloc(1, sizeof *seat);
  if (!seat) return NULL;
  seat->slot.id = id;
  seat->log_max = log_max;
  seat->out_max = out_max;
  return &seat->slot;
}

static void give_back(char **p, uint32_t *cap, uint32_t keep) {
  if (*cap <= keep) return;
  free(*p);
  *p = NULL;
  *cap = 0;
}

/* For Go: 0, or -1 when memory or the slot's limit is exhausted. */
int pg_slot_print(pg_slot *s, const char *p, uint32_t n) {
  return add_output(s, p, n);
}

/* The buffers of a slot that grew big go back to the heap. */
void pg_slot_shrink(pg_slot *s) {
  give_back(&s->log, &s->log_cap, KEEP);
  give_back(&s->out, &s->out_cap, KEEP);
  give_back(&s->arena, &s->arena_cap, KEEP);
}

void pg_slot_free(pg_slot *s) {
  if (!s) return;
  free(s->log);
  free(s->out);
  free(s->arena);
  free(s->extra);
  pg_threads_free((pg_seat *)s);
  free(s);
}
