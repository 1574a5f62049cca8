/*
 * limit.h: the memory of limits, which Go reads and writes too. It is drawn in
 * ratelimit/slot.go; the numbers here are those there, and a test holds every
 * decision made here to the one that Go makes.
 */
#ifndef PERIGEE_LIMIT_H
#define PERIGEE_LIMIT_H

#include "perigee_ffi.h"

enum {
  HEAD_SEED = 8, HEAD_SHIFT = 24, HEAD_MASK = 32, HEAD_SWEPT = 40,
  HEAD_CLOCK = 48, HEAD_BUCKETS = 16, HEAD_CLASSES = 2048,
  SHARDS_AT = 4096, SHARD_SIZE = 64,
  SHARD_CLAIMS = 0, SHARD_IDLE = 8, SHARD_EVICTED = 16,
  BUCKETS_AT = 8192, BUCKET_SIZE = 64, SLOTS = 4, WINDOW_BUCKETS = 8
};

enum {                       /* words that are not live: their low 3 bits */
  STATE_BITS = 7, STATE_DEAD = 0, STATE_BUSY = 2, STATE_TENT = 4,
  STAMP_UNIT = 8, SWEPT_DEAD = 8
};

typedef struct limit_slot { uint64_t fp, word; } limit_slot;

/* limit_word.c: pure functions on words; word 0: nothing is known. */

typedef struct limit_ask {   /* one decision */
  const pg_limit *l;
  uint64_t cost;
  int64_t now;
} limit_ask;

/* Returns 1: allowed. */
int pg_limit_decide(const limit_ask *, uint64_t word, uint64_t *next);
void pg_limit_quota(const limit_ask *, uint64_t word, int allowed,
                    pg_limit_out *);
/* In how many ns a live word of a class says no more than none; 0: now. */
int64_t pg_limit_idle_in(uint64_t class_word, uint32_t cls, uint64_t word,
                         int64_t now);

#endif
