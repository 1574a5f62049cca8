//go:build cgo && luajit

/*
 * limit_word.c: what a limit remembers of a key is one word. These functions
 * are ratelimit/gcra.go and window.go again, to the nanosecond: a table is
 * asked by Go for filters and by C for scripts, and both must decide alike.
 *
 *   GCRA      | theoretical arrival time, 1/1024 ns, wraps     63 | 1 |
 *   sliding   | window, mod 2^23 | this, 20 | the one before, 20  | 1 |
 *   fixed     | window, mod 2^23 | count, 40                      | 1 |
 */
#include "limit.h"

#define UNIT_SHIFT 11
#define NUMBER_AT 41
#define NUMBER_MASK ((1u << 23) - 1)
#define CURRENT_AT 21
#define COUNT_MASK ((1u << 20) - 1)
#define TOTAL_MASK ((1ull << 40) - 1)

static const int64_t DAY = 86400000000000ll;

static uint64_t instant(int64_t now) { return (uint64_t)now << UNIT_SHIFT | 1; }

static int64_t nanoseconds(uint64_t units) {
  return (int64_t)((units + (1u << UNIT_SHIFT) - 1) >> UNIT_SHIFT);
}

static uint64_t mul_div(uint64_t a, uint64_t b, uint64_t c) {
  unsigned __int128 p = (unsigned __int128)a * b;
  if ((uint64_t)(p >> 64) >= c) return ~0ull >> 1;
  if (!(p >> 64)) return (uint64_t)p / c;
  return (uint64_t)(p / c);
}

static uint64_t mul_div_up(uint64_t a, uint64_t b, uint64_t c) {
  unsigned __int128 p;
  if (!a) return 0;
  p = (unsigned __int128)a * b + (c - 1);
  if (!(p >> 64)) return (uint64_t)p / c;
  return (uint64_t)(p / c);
}

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

static uint64_t charge(const limit_ask *a) {
  return a->l->interval * least(a->cost, a->l->never);
}

static int gcra(const limit_ask *a, uint64_t word, uint64_t *next) {
  uint64_t at = instant(a->now), tat = word, ahead;
  if (!word || (int64_t)(word - at) < 0) tat = at;
  *next = tat + charge(a);
  ahead = *next - at;
  if (ahead <= a->l->tau + a->l->slack) return 1;
  *next = word;
  return 0;
}

static uint64_t distance(uint64_t n, uint64_t word) {
  return (n - (word >> NUMBER_AT)) & NUMBER_MASK;
}

static void sliding_counts(uint64_t word, uint64_t n, uint64_t *current,
                           uint64_t *before) {
  *current = *before = 0;
  if (!word) return;
  switch (distance(n, word)) {
  case 0: case NUMBER_MASK:
    *current = word >> CURRENT_AT & COUNT_MASK;
    *before = word >> 1 & COUNT_MASK;
    break;
  case 1:
    *before = word >> CURRENT_AT & COUNT_MASK;
  }
}

static int sliding(const limit_ask *a, uint64_t word, uint64_t *next) {
  uint64_t period = (uint64_t)a->l->period, n = (uint64_t)a->now / period;
  uint64_t left = period - (uint64_t)a->now % period, current, before;
  uint64_t cost = least(a->cost, a->l->never);
  sliding_counts(word, n, &current, &before);
  if (word && distance(n, word) == NUMBER_MASK) { n++; left = period; }
  if (current + mul_div_up(before, left, period) + cost > a->l->max) {
    *next = word;
    return 0;
  }
  *next = (n & NUMBER_MASK) << NUMBER_AT | (current + cost) << CURRENT_AT |
          before << 1 | 1;
  return 1;
}

static int64_t sliding_retry(const limit_ask *a, uint64_t word) {
  uint64_t period = (uint64_t)a->l->period, n = (uint64_t)a->now / period;
  uint64_t elapsed = (uint64_t)a->now % period, current, before;
  uint64_t max = a->l->max, weight;
  int64_t wait;
  sliding_counts(word, n, &current, &before);
  if (current + a->cost <= max) {
    weight = mul_div(max - current - a->cost, period, before);
    wait = (int64_t)(period - elapsed) - (int64_t)weight;
    return wait > 0 ? wait : 0;
  }
  weight = least(mul_div(max - a->cost, period, current), period);
  return (int64_t)(period - elapsed) + (int64_t)(period - weight);
}

/* The last day of a day's month, both from 1970: see lastDay in window.go. */
static int64_t last_day(int64_t days) {
  int64_t z = days + 719468, era = z / 146097, doe = z - era * 146097;
  int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  int64_t mp = (5 * doy + 2) / 153, next = (153 * (mp + 1) + 2) / 5;
  if (mp == 11) {
    int64_t y = yoe + 1;
    next = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0) ? 366 : 365;
  }
  return days + next - 1 - doy;
}

static uint64_t window(const limit_ask *a, int64_t *end) {
  int64_t n = a->now / a->l->period;
  if (a->l->months) n = last_day(a->now / DAY);
  *end = (n + 1) * a->l->period;
  return (uint64_t)n;
}

static uint64_t fixed_count(uint64_t word, uint64_t n) {
  if (!word || ((word >> NUMBER_AT) ^ n) & NUMBER_MASK) return 0;
  return word >> 1 & TOTAL_MASK;
}

static int fixed(const limit_ask *a, uint64_t word, uint64_t *next) {
  int64_t end;
  uint64_t n = window(a, &end);
  uint64_t count = fixed_count(word, n) + least(a->cost, a->l->never);
  if (count > a->l->max) {
    *next = word;
    return 0;
  }
  *next = (n & NUMBER_MASK) << NUMBER_AT | count << 1 | 1;
  return 1;
}

int pg_limit_decide(const limit_ask *a, uint64_t word, uint64_t *next) {
  switch (a->l->kind) {
  case PG_LIMIT_BUCKET: return gcra(a, word, next);
  case PG_LIMIT_SLIDING: return sliding(a, word, next);
  default: return fixed(a, word, next);
  }
}

static void bucket_quota(const limit_ask *a, uint64_t word, int allowed,
                         pg_limit_out *out) {
  const pg_limit *l = a->l;
  uint64_t at = instant(a->now), ahead = 0;
  int64_t over;
  if (word && (int64_t)(word - at) > 0) ahead = word - at;
  out->reset = (double)nanoseconds(ahead);
  if (ahead < l->tau) out->remaining = (double)((l->tau - ahead) / l->interval);
  if (allowed) {
    if (ahead > l->tau) out->wait = (double)nanoseconds(ahead - l->tau);
    return;
  }
  over = (int64_t)(ahead + charge(a) - l->tau - l->slack);
  if (over > 0) out->wait = (double)nanoseconds((uint64_t)over);
}

static void sliding_quota(const limit_ask *a, uint64_t word, int allowed,
                          pg_limit_out *out) {
  uint64_t period = (uint64_t)a->l->period, n = (uint64_t)a->now / period;
  uint64_t left = period - (uint64_t)a->now % period, current, before, used;
  sliding_counts(word, n, &current, &before);
  used = current + mul_div_up(before, left, period);
  out->remaining = (double)(a->l->max - least(used, a->l->max));
  if (current) out->reset = (double)(left + period);
  else if (before) out->reset = (double)left;
  if (!allowed && a->cost < a->l->never)
    out->wait = (double)sliding_retry(a, word);
}

void pg_limit_quota(const limit_ask *a, uint64_t word, int allowed,
                    pg_limit_out *out) {
  out->remaining = out->wait = out->reset = 0;
  if (a->l->kind == PG_LIMIT_BUCKET) {
    bucket_quota(a, word, allowed, out);
  } else if (a->l->kind == PG_LIMIT_SLIDING) {
    sliding_quota(a, word, allowed, out);
  } else {
    int64_t end;
    uint64_t n = window(a, &end);
    uint64_t count = least(fixed_count(word, n), a->l->max);
    out->remaining = (double)(a->l->max - count);
    out->reset = (double)(end - a->now);
    if (!allowed) out->wait = out->reset;
  }
  if (!allowed && a->cost >= a->l->never) out->wait = -1;
}

int64_t pg_limit_idle_in(uint64_t class_word, uint32_t cls, uint64_t word,
                         int64_t now) {
  int64_t period, n, ahead;
  if (!cls) {
    int64_t d = (int64_t)(word - instant(now));
    return d <= 0 ? 0 : nanoseconds((uint64_t)d);
  }
  if (class_word == ~0ull) return word >> 1 ? INT64_MAX : 0;
  period = (int64_t)(class_word >> 1);
  n = now / period;
  ahead = (int64_t)(((word >> NUMBER_AT) - (uint64_t)n) << NUMBER_AT);
  ahead = (ahead >> NUMBER_AT) + 1 + (int64_t)(class_word & 1);
  return ahead <= 0 ? 0 : (n + ahead) * period - now;
}
