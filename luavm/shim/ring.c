//go:build cgo && luajit

/*
 * ring.c: the last lines of the log, for ngx.errlog.get_logs.
 *
 *            head                used bytes
 *   data:  ---[ time level n | text ][ time level n | text ]------
 *
 * A record may wrap around the end of data. A new one pushes out as many of
 * the oldest as it needs room. One ring serves all states of a pool, as all
 * are one process; a record goes to one reader.
 *
 * The mutex is held for copying only. A thread that runs Lua cannot be jumped
 * out of meanwhile: pc is in this file or in libc (see watchdog.c).
 */
#include "nginx.h"
#include "request.h"
#include "text.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct pg_ring {
  pthread_mutex_t lock;
  int users;
  int level;                 /* lines less grave are passed over */
  uint32_t size, head, used;
  char data[];
};

typedef struct record { double time; int32_t level; uint32_t n; } record;

pg_ring *pg_ring_new(uint32_t size) {
  pg_ring *r = malloc(sizeof *r + size);
  if (!r) return NULL;
  pthread_mutex_init(&r->lock, NULL);
  r->users = 1;
  r->level = 8;
  r->size = size;
  r->head = r->used = 0;
  return r;
}

pg_ring *pg_ring_hold(pg_ring *r) {
  if (r) __atomic_add_fetch(&r->users, 1, __ATOMIC_RELAXED);
  return r;
}

void pg_ring_drop(pg_ring *r) {
  if (!r || __atomic_sub_fetch(&r->users, 1, __ATOMIC_ACQ_REL)) return;
  pthread_mutex_destroy(&r->lock);
  free(r);
}

/* ---- bytes at an offset from head, around the end ---- */

static void copy_in(pg_ring *r, uint32_t at, const void *p, uint32_t n) {
  uint32_t i = (r->head + at) % r->size;
  uint32_t first = n < r->size - i ? n : r->size - i;
  memcpy(r->data + i, p, first);
  memcpy(r->data, (const char *)p + first, n - first);
}

static void copy_out(const pg_ring *r, uint32_t at, void *p, uint32_t n) {
  uint32_t i = (r->head + at) % r->size;
  uint32_t first = n < r->size - i ? n : r->size - i;
  memcpy(p, r->data + i, first);
  memcpy((char *)p + first, r->data, n - first);
}

static void forget_oldest(pg_ring *r) {
  record old;
  copy_out(r, 0, &old, sizeof old);
  r->head = (r->head + (uint32_t)sizeof old + old.n) % r->size;
  r->used -= (uint32_t)sizeof old + old.n;
}

void pg_ring_put(pg_ring *r, int level, double time, const char *p, size_t n) {
  record rec = { time, level, (uint32_t)n };
  size_t need = sizeof rec + n;
  if (level > __atomic_load_n(&r->level, __ATOMIC_RELAXED) || need > r->size)
    return;
  pthread_mutex_lock(&r->lock);
  while (r->size - r->used < need) forget_oldest(r);
  copy_in(r, r->used, &rec, sizeof rec);
  copy_in(r, r->used + (uint32_t)sizeof rec, p, rec.n);
  r->used += (uint32_t)need;
  pthread_mutex_unlock(&r->lock);
}

/* ---- a line as the log file has it ---- */

static const char *const level_names[] = {
    "stderr", "emerg", "alert", "crit", "error", "warn", "notice", "info",
    "debug"};

enum { AROUND = 1024 };      /* bytes for what stands around a message */

/* ", key: value" when there is one; to[0] is always written. */
static int about(char *to, int room, const char *form, pg_str s) {
  int n;
  *to = 0;
  if (!s.p || !s.n) return 0;
  n = snprintf(to, (size_t)room, form, (int)s.n, s.p);
  return n < room ? n : 0;
}

static int after(const pg_slot *s, char *to, int room) {
  const pg_str *v = s->vars;
  int n = about(to, room, ", client: %.*s", v[PG_VAR_REMOTE_ADDR]);
  n += about(to + n, room - n, ", server: %.*s", v[PG_VAR_SERVER_NAME]);
  if (v[PG_VAR_METHOD].p && v[PG_VAR_REQUEST_URI].p) {
    n += about(to + n, room - n, ", request: \"%.*s ", v[PG_VAR_METHOD]);
    n += about(to + n, room - n, "%.*s ", v[PG_VAR_REQUEST_URI]);
    n += about(to + n, room - n, "%.*s\"", v[PG_VAR_PROTOCOL]);
  }
  return n + about(to + n, room - n, ", host: \"%.*s\"", v[PG_VAR_HOST]);
}

/* Puts a line of a script into the state's ring. */
void pg_capture(pg_state *v, int level, const char *p, size_t n) {
  const pg_slot *s = v->vm.slot;
  char *line = malloc(n + 2 * AROUND);
  double now = pg_wall();
  int len;
  if (!line) return;
  len = (int)pg_format_time(now, PG_TIME_LOCAL, line);
  for (int i = 0; i < len; i++)
    if (line[i] == '-') line[i] = '/';
  len += snprintf(line + len, AROUND - (size_t)len, " [%s] %d#0: ",
                  level_names[level < 0 || level > 8 ? 8 : level], getpid());
  if (s->connection)
    len += snprintf(line + len, AROUND - (size_t)len, "*%llu ",
                    (unsigned long long)s->connection);
  memcpy(line + len, p, n);
  len += (int)n;
  len += after(s, line + len, AROUND);
  pg_ring_put(v->ring, level, now, line, (size_t)len);
  free(line);
}

/* ---- for ngx.errlog, by OpenResty's names ---- */

static const char not_set[] = "directive \"lua_capture_error_log\" is not set";

static pg_ring *ring_or(u_char *err, size_t *err_n) {
  pg_state *v = pg_inside();
  if (v && v->ring) return v->ring;
  *err_n = (size_t)snprintf((char *)err, *err_n, "%s", not_set);
  return NULL;
}

int ngx_http_lua_ffi_errlog_set_filter_level(int level, u_char *err,
                                             size_t *err_n) {
  pg_ring *r = ring_or(err, err_n);
  if (!r) return NGX_ERROR;
  if (level < 0 || level > 8) {
    *err_n = (size_t)snprintf((char *)err, *err_n, "bad log level: %d", level);
    return NGX_ERROR;
  }
  __atomic_store_n(&r->level, level, __ATOMIC_RELAXED);
  return NGX_OK;
}

enum { NOTHING = -4 };       /* nginx's NGX_DONE */

/* The oldest line, or NOTHING. *line is valid until the next call of the
   request API. */
int ngx_http_lua_ffi_errlog_get_msg(char **line, int *level, u_char *err,
                                    size_t *err_n, double *time) {
  pg_ring *r = ring_or(err, err_n);
  pg_view *view = pg_view_memory();
  record rec;
  int n = NOTHING;
  if (!r) return NGX_ERROR;
  pthread_mutex_lock(&r->lock);
  if (r->used) {
    copy_out(r, 0, &rec, sizeof rec);
    *line = view ? pg_view_text(view, rec.n + 1) : NULL;
    if (*line) {
      copy_out(r, sizeof rec, *line, rec.n);
      *level = rec.level;
      *time = rec.time;
      n = (int)rec.n;
      forget_oldest(r);
    }
  }
  pthread_mutex_unlock(&r->lock);
  return n;
}

int ngx_http_lua_ffi_errlog_get_sys_filter_level(ngx_http_request_t *r) {
  pg_state *v = pg_inside();
  (void)r;
  return v ? v->vm.log_level : 8;
}
