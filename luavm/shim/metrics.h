/* metrics.h: how metrics.go reads what scripts have counted; see metrics.c. */
#ifndef PERIGEE_METRICS_H
#define PERIGEE_METRICS_H

#include "metrics_ffi.h"

typedef struct pg_metric {
  pg_metric_spec spec;       /* its texts and bounds are the metric's own */
  uint32_t series_count;
  pg_series *newest;         /* published with release; then by pg_series.next */
  pg_series *spill;          /* NULL until the limit is met */
  pg_series *buckets[256];   /* by hash of the values */
} pg_metric;

struct pg_series {
  pg_series *next, *chain;   /* neither changes after the series is published */
  const pg_metric *metric;
  uint64_t bits;             /* of a double: value, or sum of a histogram */
  uint64_t *counts;          /* of a histogram: one more than bounds */
  uint32_t hash, n;
  char values[];
};

pg_metric *pg_metric_at(uint32_t i);     /* NULL behind the last one */
pg_series *pg_metric_newest(pg_metric *);
pg_series *pg_metric_spill(pg_metric *);
double pg_series_value(pg_series *);
uint64_t pg_series_count(pg_series *, uint32_t bucket);

#endif
