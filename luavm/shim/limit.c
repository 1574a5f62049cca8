//go:build cgo && luajit

/*
 * limit.c: decides limits for scripts, in the memory in which Go decides them
 * for filters, so that perigee.limit never leaves Lua's thread.
 *
 *   key -- XXH64, the limit's seed --> h
 *     high bits: home bucket        low 56 bits and the class: fingerprint
 *     +-----------+-----------+-----------+-----------+
 *     | fp | word | fp | word | fp | word | fp | word |   one cache line
 *     +-----------+-----------+-----------+-----------+
 *   next = decide(word); CAS(word, next), or again from the start
 *
 * How a slot is made for a new key while others make one for the same key, in
 * Go or here, is told in ratelimit/claim.go. The steps here are the same:
 *
 *   usable --CAS word--> busy --fp--> busy --word--> tentative --CAS--> live
 *
 * Nothing here waits for another thread. All words are read and written with
 * sequential consistency, as Go's sync/atomic does. The watchdog does not jump
 * out of this code (watchdog.c), so no slot stays busy.
 */
#include "limit.h"

#include <string.h>
#include <time.h>

#include "shim.h"

static uint64_t get(const uint64_t *p) {
  return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

static void set(uint64_t *p, uint64_t v) {
  __atomic_store_n(p, v, __ATOMIC_SEQ_CST);
}

static int swap(uint64_t *p, uint64_t from, uint64_t to) {
  return __atomic_compare_exchange_n(p, &from, to, 0, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST);
}

static uint64_t *at(const pg_limit *l, uint64_t offset) {
  return (uint64_t *)((char *)l->table + offset);
}

static int live(uint64_t w) { return (int)(w & 1); }
static int tentative(uint64_t w) { return (w & STATE_BITS) == STATE_TENT; }

/* ---- XXH64: ratelimit/hash.go ---- */

#define PRIME1 11400714785074694791ull
#define PRIME2 14029467366897019727ull
#define PRIME3 1609587929392839161ull
#define PRIME4 9650029242287828579ull
#define PRIME5 2870177450012600261ull

static uint64_t rotl(uint64_t v, int n) { return v << n | v >> (64 - n); }

static uint64_t word64(const char *p) {
  uint64_t v;
  memcpy(&v, p, 8);
  return v;
}

static uint64_t turn(uint64_t acc, uint64_t input) {
  return rotl(acc + input * PRIME2, 31) * PRIME1;
}

static uint64_t merge(uint64_t acc, uint64_t v) {
  return (acc ^ turn(0, v)) * PRIME1 + PRIME4;
}

static uint64_t tail(uint64_t h, const char *k, uint32_t n) {
  for (; n >= 8; k += 8, n -= 8)
    h = rotl(h ^ turn(0, word64(k)), 27) * PRIME1 + PRIME4;
  if (n >= 4) {
    uint32_t v;
    memcpy(&v, k, 4);
    h = rotl(h ^ v * PRIME1, 23) * PRIME2 + PRIME3;
    k += 4, n -= 4;
  }
  for (; n; k++, n--) h = rotl(h ^ (uint8_t)*k * PRIME5, 11) * PRIME1;
  h = (h ^ h >> 33) * PRIME2;
  h = (h ^ h >> 29) * PRIME3;
  return h ^ h >> 32;
}

static uint64_t hash(const char *k, uint32_t n, uint64_t seed) {
  uint64_t v[4] = {seed + PRIME1 + PRIME2, seed + PRIME2, seed, seed - PRIME1};
  uint64_t h = seed + PRIME5, length = n;
  int i;
  if (n >= 32) {
    for (; n >= 32; k += 32, n -= 32)
      for (i = 0; i < 4; i++) v[i] = turn(v[i], word64(k + 8 * i));
    h = rotl(v[0], 1) + rotl(v[1], 7) + rotl(v[2], 12) + rotl(v[3], 18);
    for (i = 0; i < 4; i++) h = merge(h, v[i]);
  }
  return tail(h + length, k, n);
}

/* ---- places and slots ---- */

typedef struct place { limit_slot *first; uint64_t home, mask; uint64_t *shard; }
  place;

static place place_of(const pg_limit *l, uint64_t h) {
  uint64_t index = h >> (get(at(l, HEAD_SHIFT)) & 63);
  place p;
  p.mask = get(at(l, HEAD_MASK));
  p.home = index & p.mask;
  p.first = (limit_slot *)at(l, BUCKETS_AT + (index - p.home) * BUCKET_SIZE);
  p.shard = at(l, SHARDS_AT + (index - p.home) / (p.mask + 1) * SHARD_SIZE);
  return p;
}

/* The i-th slot in which a key of the place may live. */
static limit_slot *slot_at(const place *p, int i) {
  uint64_t bucket = (p->home + (uint64_t)(i / SLOTS)) & p->mask;
  return p->first + bucket * SLOTS + (uint64_t)(i % SLOTS);
}

static uint64_t *counter(const place *p, int offset) {
  return p->shard + offset / 8;
}

static limit_slot *find(const pg_limit *l, uint64_t h, uint64_t fp) {
  place p = place_of(l, h);
  for (int i = 0; i < WINDOW_BUCKETS * SLOTS; i++) {
    limit_slot *s = slot_at(&p, i);
    uint64_t found = get(&s->fp), w = get(&s->word);
    if (found == fp && (live(w) || tentative(w))) return s;
    if (!found && !w) return NULL;
  }
  return NULL;
}

static int64_t idle_in(const pg_limit *l, uint64_t fp, uint64_t word,
                       int64_t now) {
  uint32_t cls = (uint32_t)(fp & 0xff);
  return pg_limit_idle_in(get(at(l, HEAD_CLASSES + 8 * cls)), cls, word, now);
}

/* ---- making a slot: ratelimit/claim.go ---- */

typedef struct taken { limit_slot *slot; uint64_t word; int forced; } taken;

static taken usable(const pg_limit *l, const place *p, int64_t now) {
  taken best = {slot_at(p, 0), ~0ull, 1};
  int64_t soonest = -1;
  for (int i = 0; i < WINDOW_BUCKETS * SLOTS; i++) {
    limit_slot *s = slot_at(p, i);
    uint64_t fp = get(&s->fp), w = get(&s->word);
    int64_t idle;
    if ((w & STATE_BITS) == STATE_DEAD) return (taken){s, w, 0};
    if (!live(w)) continue;
    idle = idle_in(l, fp, w, now);
    if (idle <= 0 && get(&s->fp) == fp) return (taken){s, w, 0};
    if (soonest < 0 || idle < soonest) {
      soonest = idle;
      best.slot = s, best.word = w;
    }
  }
  return best;
}

static int settle(const place *p, limit_slot *mine, uint64_t word,
                  uint64_t first) {
  uint64_t fp = get(&mine->fp), w;
  int earlier = 1;
  for (int i = 0; i < WINDOW_BUCKETS * SLOTS; i++) {
    limit_slot *s = slot_at(p, i);
    if (s == mine) { earlier = 0; continue; }
    while (get(&s->fp) == fp) {
      w = get(&s->word);
      if (get(&s->fp) != fp || (!live(w) && !tentative(w))) break;
      if (live(w) || earlier) {
        swap(&mine->word, word, word & ~(uint64_t)STATE_BITS);
        return 0;
      }
      if (swap(&s->word, w, w & ~(uint64_t)STATE_BITS)) break;
    }
    if (!get(&s->word) && !get(&s->fp)) break;
  }
  return swap(&mine->word, word, first);
}

static int insert(const pg_limit *l, uint64_t h, uint64_t fp, uint64_t first,
                  int64_t now) {
  place p = place_of(l, h);
  taken t = usable(l, &p, now);
  uint64_t stamp = __atomic_add_fetch(counter(&p, SHARD_CLAIMS), 1,
                                      __ATOMIC_SEQ_CST) * STAMP_UNIT;
  if (!swap(&t.slot->word, t.word, stamp | STATE_BUSY)) return 0;
  if (t.forced || live(t.word))
    __atomic_add_fetch(counter(&p, t.forced ? SHARD_EVICTED : SHARD_IDLE), 1,
                       __ATOMIC_SEQ_CST);
  set(&t.slot->fp, fp);
  set(&t.slot->word, stamp | STATE_TENT);
  return settle(&p, t.slot, stamp | STATE_TENT, first);
}

/* Instants wrap: see ratelimit/evict.go. */
static void sweep_if_due(const pg_limit *l, int64_t now) {
  limit_slot *s = (limit_slot *)at(l, BUCKETS_AT);
  uint64_t n = get(at(l, HEAD_BUCKETS)) * SLOTS;
  if (now - (int64_t)get(at(l, HEAD_SWEPT)) <= 13 * 86400000000000ll) return;
  set(at(l, HEAD_SWEPT), (uint64_t)now);
  for (; n; s++, n--) {
    uint64_t w = get(&s->word), fp = get(&s->fp);
    if ((live(w) && idle_in(l, fp, w, now) <= 0 && get(&s->fp) == fp) ||
        tentative(w))
      swap(&s->word, w, SWEPT_DEAD);
  }
}

/* ---- the door ---- */

static int decide(const limit_ask *a, uint64_t h, uint64_t *after) {
  const pg_limit *l = a->l;
  uint64_t fp = h << 8 | l->cls;
  if (!fp) fp = 1 << 8;
  for (;;) {
    limit_slot *s = find(l, h, fp);
    uint64_t word = s ? get(&s->word) : 0;
    int allowed;
    if (s && (get(&s->fp) != fp || !(live(word) || tentative(word)))) continue;
    allowed = pg_limit_decide(a, live(word) ? word : 0, after);
    if (!allowed || !a->cost) return allowed;
    if (!s) {
      if (insert(l, h, fp, *after, a->now)) return 1;
    } else if (tentative(word)) {
      place p = place_of(l, h);
      if (settle(&p, s, word, *after)) return 1;
    } else if (swap(&s->word, word, *after)) {
      return 1;
    }
  }
}

static int32_t take(const pg_limit *l, const char *k, uint32_t kn, double cost,
                    int64_t now, pg_limit_out *out) {
  limit_ask a = {l, 0, now};
  uint64_t after = 0;
  int allowed;
  if (cost > 0) a.cost = cost < 1e15 ? (uint64_t)cost : (uint64_t)1e15;
  if (!now) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    a.now = t.tv_sec * 1000000000ll + t.tv_nsec +
            (int64_t)get(at(l, HEAD_CLOCK));
  }
  sweep_if_due(l, a.now);
  allowed = decide(&a, hash(k, kn, l->seed), &after);
  pg_limit_quota(&a, after, allowed, out);
  if (l->counts)
    __atomic_fetch_add(&l->counts[!allowed ? 2 : out->wait > 0], 1,
                       __ATOMIC_RELAXED);
  return allowed;
}

const pg_limit_api *pg_limits(void) {
  static const pg_limit_api api = {take};
  return &api;
}
