/*
 * metrics_ffi.h: the part of perigee_ffi.h's contract that perigee.metrics uses,
 * with the same three readers and the same rules.
 */
#ifndef PERIGEE_METRICS_FFI_H
#define PERIGEE_METRICS_FFI_H

#include "perigee_ffi.h"

/* PERIGEE FFI BEGIN */

enum {                       /* kinds */
  PG_METRIC_COUNTER = 0, PG_METRIC_GAUGE = 1, PG_METRIC_HISTOGRAM = 2
};

enum {                       /* what declare may answer besides a number >= 0 */
  PG_METRIC_OTHER = -1,      /* the name is another kind's, or has other labels */
  PG_METRIC_FULL = -2        /* too many metrics, or no memory */
};

typedef struct pg_series pg_series;      /* one metric with label values */

typedef struct pg_metric_spec {
  pg_str name, help;
  pg_str labels;             /* names, a NUL between two */
  uint32_t kind;
  uint32_t label_count;
  const double *bounds;      /* of a histogram: upper ones, growing */
  uint32_t bound_count;
  uint32_t limit;            /* of its series */
} pg_metric_spec;

typedef struct pg_metrics_api {
  int32_t (*declare)(pg_vm *, const pg_metric_spec *);
  /* values: as many as labels, a NUL between two. Beyond the limit *spilled is 1
     and the series is the one that all further values share. */
  pg_series *(*series)(pg_vm *, int32_t metric, const char *values,
                       uint32_t n, int32_t *spilled);
  void (*add)(pg_series *, double);
  void (*set)(pg_series *, double);
  void (*observe)(pg_series *, double);
} pg_metrics_api;

/* PERIGEE FFI END */

#endif
