//go:build cgo && luajit

/*
 * metrics.c: what scripts count (perigee.metrics), for the whole process.
 *
 *   metrics[]            pg_metric               pg_series
 *   +---+              +-----------+   newest  +--------+  next  +--------+
 *   | 0 | -----------> | spec      | --------> | a="2"  | -----> | a="1"  | -> 0
 *   | 1 |              | buckets[] | -chain--> | 17.0   |        | 3.0    |
 *   +---+              | spill     | --+       +--------+        +--------+
 *                      +-----------+   +-----> overflow: all further values
 *
 * Nothing is ever removed, so that a VM may keep the pointer of a series and add to
 * it without a lock, from compiled code, while Go walks the lists. What grows does
 * so under one lock, and is published by one release store. Removing would need to
 * know what VMs hold; a bound on the number needs nothing: label values come from
 * clients in the end, and who sends a million of them gets one series for all
 * beyond the limit.
 *
 * The lock is held under crit: the watchdog ends no script that has it.
 */
#include "metrics.h"
#include "shim.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_METRICS = 512, BUCKETS = 256 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pg_metric *metrics[MOST_METRICS];
static uint32_t metric_count;      /* published with release */

/* ---- the lists ---- */

static uint32_t hash_of(const char *p, uint32_t n) {
  uint32_t h = 2166136261u;        /* FNV-1a */
  while (n--) h = (h ^ (uint8_t)*p++) * 16777619u;
  return h;
}

static int same(pg_str a, pg_str b) {
  return a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

static int same_spec(const pg_metric_spec *a, const pg_metric_spec *b) {
  return a->kind == b->kind && same(a->labels, b->labels) &&
         a->bound_count == b->bound_count &&
         memcmp(a->bounds, b->bounds, a->bound_count * sizeof(double)) == 0;
}

static pg_str copy(pg_str from, char **at) {
  pg_str to = {*at, from.n};
  memcpy(*at, from.p, from.n);
  *at += from.n;
  return to;
}

/* One block: the metric, its bounds, its texts. */
static pg_metric *make_metric(const pg_metric_spec *spec) {
  size_t bounds = spec->bound_count * sizeof(double);
  pg_metric *m = calloc(1, sizeof *m + bounds + spec->name.n + spec->help.n +
                               spec->labels.n);
  double *own;
  char *at;
  if (!m) return NULL;
  own = (double *)(m + 1);
  memcpy(own, spec->bounds, bounds);
  at = (char *)own + bounds;
  m->spec = *spec;
  m->spec.bounds = own;
  m->spec.name = copy(spec->name, &at);
  m->spec.help = copy(spec->help, &at);
  m->spec.labels = copy(spec->labels, &at);
  return m;
}

static int32_t declare_locked(const pg_metric_spec *spec) {
  pg_metric *m;
  for (uint32_t i = 0; i < metric_count; i++)
    if (same(metrics[i]->spec.name, spec->name))
      return same_spec(&metrics[i]->spec, spec) ? (int32_t)i : PG_METRIC_OTHER;
  if (metric_count == MOST_METRICS || !(m = make_metric(spec)))
    return PG_METRIC_FULL;
  metrics[metric_count] = m;
  __atomic_store_n(&metric_count, metric_count + 1, __ATOMIC_RELEASE);
  return (int32_t)metric_count - 1;
}

static pg_series *make_series(pg_metric *m, const char *values, uint32_t n) {
  size_t counts = m->spec.kind == PG_METRIC_HISTOGRAM
                      ? (m->spec.bound_count + 1) * sizeof(uint64_t)
                      : 0;
  size_t texts = (sizeof(pg_series) + n + 7) & ~(size_t)7;
  pg_series *s = calloc(1, texts + counts);
  if (!s) return NULL;
  s->metric = m;
  s->counts = counts ? (uint64_t *)((char *)s + texts) : NULL;
  s->n = n;
  memcpy(s->values, values, n);
  return s;
}

/* The series for what is beyond the limit, or finds no memory. */
static pg_series *spill_of(pg_metric *m) {
  static const char word[] = "overflow";
  if (!m->spill) {
    uint32_t each = sizeof word - 1, labels = m->spec.label_count;
    char values[64 * sizeof word];
    uint32_t n = 0;
    for (uint32_t i = 0; i < labels; i++) {
      if (i) values[n++] = 0;
      memcpy(values + n, word, each);
      n += each;
    }
    pg_series *s = make_series(m, values, n);
    __atomic_store_n(&m->spill, s, __ATOMIC_RELEASE);
  }
  return m->spill;
}

static pg_series *series_locked(pg_metric *m, const char *values, uint32_t n,
                                int32_t *spilled) {
  uint32_t h = hash_of(values, n);
  pg_series **head = &m->buckets[h % BUCKETS], *s;
  for (s = *head; s; s = s->chain)
    if (s->hash == h && s->n == n && memcmp(s->values, values, n) == 0)
      return s;
  if (m->series_count >= m->spec.limit || !(s = make_series(m, values, n))) {
    *spilled = 1;
    return spill_of(m);
  }
  s->hash = h;
  s->chain = *head;
  s->next = m->newest;
  *head = s;
  m->series_count++;
  __atomic_store_n(&m->newest, s, __ATOMIC_RELEASE);
  return s;
}

/* ---- for Lua ---- */

static int32_t api_declare(pg_vm *vm, const pg_metric_spec *spec) {
  int32_t found;
  vm->crit++;
  pthread_mutex_lock(&lock);
  found = declare_locked(spec);
  pthread_mutex_unlock(&lock);
  vm->crit--;
  return found;
}

static pg_series *api_series(pg_vm *vm, int32_t metric, const char *values,
                             uint32_t n, int32_t *spilled) {
  pg_series *s;
  *spilled = 0;
  vm->crit++;
  pthread_mutex_lock(&lock);
  s = series_locked(metrics[metric], values, n, spilled);
  pthread_mutex_unlock(&lock);
  vm->crit--;
  return s;
}

static double as_double(uint64_t bits) {
  double d;
  memcpy(&d, &bits, sizeof d);
  return d;
}

static uint64_t as_bits(double d) {
  uint64_t bits;
  memcpy(&bits, &d, sizeof bits);
  return bits;
}

static void api_add(pg_series *s, double by) {
  uint64_t old = __atomic_load_n(&s->bits, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(&s->bits, &old,
                                      as_bits(as_double(old) + by), 1,
                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}

static void api_set(pg_series *s, double to) {
  __atomic_store_n(&s->bits, as_bits(to), __ATOMIC_RELAXED);
}

static void api_observe(pg_series *s, double value) {
  const pg_metric_spec *spec = &s->metric->spec;
  uint32_t i = 0;
  while (i < spec->bound_count && value > spec->bounds[i]) i++;
  __atomic_fetch_add(&s->counts[i], 1, __ATOMIC_RELAXED);
  api_add(s, value);
}

static const pg_metrics_api api = {
    .declare = api_declare,
    .series = api_series,
    .add = api_add,
    .set = api_set,
    .observe = api_observe,
};

const pg_metrics_api *pg_metrics(void) { return &api; }

/* ---- for Go ---- */

pg_metric *pg_metric_at(uint32_t i) {
  return i < __atomic_load_n(&metric_count, __ATOMIC_ACQUIRE) ? metrics[i]
                                                              : NULL;
}

pg_series *pg_metric_newest(pg_metric *m) {
  return __atomic_load_n(&m->newest, __ATOMIC_ACQUIRE);
}

pg_series *pg_metric_spill(pg_metric *m) {
  return __atomic_load_n(&m->spill, __ATOMIC_ACQUIRE);
}

double pg_series_value(pg_series *s) {
  return as_double(__atomic_load_n(&s->bits, __ATOMIC_RELAXED));
}

uint64_t pg_series_count(pg_series *s, uint32_t bucket) {
  return __atomic_load_n(&s->counts[bucket], __ATOMIC_RELAXED);
}
