//go:build cgo && luajit

/*
 * shdict_item.c: the lock of a shared dictionary, how an item is found, born
 * and removed, and how room is made. The picture is in shdict.h.
 */
#include "shdict.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SPINS = 100, TIDY = 2, LOOK_FOR_EXPIRED = 16, EVICT_MAX = 30 };

/* ---- lock ---- */

static inline void pause_cpu(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

/* Sections are shorter than a futex call, so a short spin mostly suffices;
   a holder that lost its core is waited for in the kernel. */
static void lock_wait(uint32_t *lock) {
  for (int i = 0; i < SPINS; i++) {
    uint32_t zero = 0;
    if (__atomic_load_n(lock, __ATOMIC_RELAXED) == 0 &&
        __atomic_compare_exchange_n(lock, &zero, 1, 0, __ATOMIC_ACQUIRE,
                                    __ATOMIC_RELAXED))
      return;
    pause_cpu();
  }
  while (__atomic_exchange_n(lock, 2, __ATOMIC_ACQUIRE) != 0)
    syscall(SYS_futex, lock, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
}

static int64_t clock_ms(const pg_vm *vm) {
  if (vm) return (int64_t)(vm->now * 1000.0 + 0.5);
  struct timespec ts;
  clock_gettime(CLOCK_REALTIME, &ts);
  return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* volatile: the watchdog's signal handler, on this thread, reads crit */
static inline void crit_add(pg_vm *vm, int32_t n) {
  if (!vm) return;
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  *(volatile int32_t *)&vm->crit += n;
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

int64_t pg_dict_enter(pg_vm *vm, pg_shdict *d) {
  int64_t now = clock_ms(vm);
  uint32_t zero = 0;
  crit_add(vm, 1);
  if (!__atomic_compare_exchange_n(&d->lock, &zero, 1, 0, __ATOMIC_ACQUIRE,
                                   __ATOMIC_RELAXED))
    lock_wait(&d->lock);
  return now;
}

void pg_dict_leave(pg_vm *vm, pg_shdict *d) {
  if (__atomic_exchange_n(&d->lock, 0, __ATOMIC_RELEASE) == 2)
    syscall(SYS_futex, &d->lock, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
  crit_add(vm, -1);
}

/* ---- hash ---- */

static inline uint64_t fold(uint64_t a, uint64_t b) {
  __uint128_t r = (__uint128_t)a * b;
  return (uint64_t)r ^ (uint64_t)(r >> 64);
}

static inline uint64_t load(const char *p, uint32_t n) {
  uint64_t w = 0;
  memcpy(&w, p, n);
  return w;
}

/* Multiply and fold, 8 bytes a step. The seed is random for each dictionary,
   so that clients who choose keys cannot choose their chains. */
uint32_t pg_dict_hash(const pg_shdict *d, const char *k, uint32_t kn) {
  uint64_t h = d->seed ^ kn * 0x9e3779b97f4a7c15ull;
  for (; kn > 8; k += 8, kn -= 8)
    h = fold(h ^ load(k, 8), 0xd6e8feb86659fd93ull);
  uint64_t last;
  if (kn == 8) {
    last = load(k, 8);
  } else if (kn >= 4) {
    last = load(k, 4) | load(k + kn - 4, 4) << 32;
  } else {
    last = (uint64_t)(uint8_t)k[0] | (uint64_t)(uint8_t)k[kn / 2] << 8 |
           (uint64_t)(uint8_t)k[kn - 1] << 16;
  }
  h = fold(h ^ last, 0xa0761d6478bd642full);
  return (uint32_t)(fold(h, d->seed | 1) >> 32);
}

static inline pg_ref *bucket(pg_shdict *d, uint32_t hash) {
  return &d->buckets[(uint64_t)hash * d->nbuckets >> 32];
}

pg_item *pg_dict_find(pg_shdict *d, const pg_key *key) {
  for (pg_ref r = *bucket(d, key->hash); r;) {
    pg_item *it = pg_at(d, r);
    if (it->hash == key->hash && it->klen == key->n &&
        memcmp(pg_item_key(it), key->p, key->n) == 0)
      return it;
    r = it->next;
  }
  return NULL;
}

/* ---- LRU ---- */

static void lru_remove(pg_shdict *d, pg_item *it) {
  if (it->newer) ((pg_item *)pg_at(d, it->newer))->older = it->older;
  else d->newest = it->older;
  if (it->older) ((pg_item *)pg_at(d, it->older))->newer = it->newer;
  else d->oldest = it->newer;
}

static void lru_push(pg_shdict *d, pg_item *it) {
  pg_ref r = pg_ref_of(d, it);
  it->newer = 0;
  it->older = d->newest;
  if (d->newest) ((pg_item *)pg_at(d, d->newest))->newer = r;
  else d->oldest = r;
  d->newest = r;
}

void pg_dict_touch(pg_shdict *d, pg_item *it) {
  if (!it->newer) return;              /* a hot counter is the newest already */
  lru_remove(d, it);
  lru_push(d, it);
}

/* ---- life of an item ---- */

void pg_dict_set_expires(pg_shdict *d, pg_item *it, int64_t ms) {
  d->mortal += (ms != 0) - (pg_item_expires(it) != 0);
  it->expires_lo = (uint32_t)(uint64_t)ms;
  it->expires_hi = (uint32_t)((uint64_t)ms >> 32);
}

pg_item *pg_dict_link(pg_shdict *d, pg_ref r, const pg_key *key,
                      uint32_t vsize) {
  pg_item *it = pg_at(d, r);
  pg_ref *b = bucket(d, key->hash);
  memset(it, 0, sizeof *it);
  it->klen = (uint16_t)key->n;
  it->hash = key->hash;
  it->next = *b;
  *b = r;
  it->vlen = vsize;
  memcpy(it->data + vsize, key->p, key->n);
  lru_push(d, it);
  d->items++;
  return it;
}

void pg_dict_remove(pg_shdict *d, pg_item *it) {
  pg_ref r = pg_ref_of(d, it), *p = bucket(d, it->hash);
  while (*p != r) p = &((pg_item *)pg_at(d, *p))->next;
  *p = it->next;
  lru_remove(d, it);
  if (it->type == PG_DICT_LIST) pg_list_clear(d, it);
  d->mortal -= pg_item_expires(it) != 0;
  d->items--;
  pg_slab_free(d, r);
}

void pg_dict_tidy(pg_shdict *d, int64_t now) {
  for (int i = 0; i < TIDY && d->mortal && d->oldest; i++) {
    pg_item *it = pg_at(d, d->oldest);
    if (!pg_item_dead(it, now)) return;
    d->expired++;
    pg_dict_remove(d, it);
  }
}

/* ---- making room ---- */

static int drop_expired_old(pg_shdict *d, int64_t now) {
  int dropped = 0;
  pg_ref r = d->mortal ? d->oldest : 0;
  for (int i = 0; i < LOOK_FOR_EXPIRED && r; i++) {
    pg_item *it = pg_at(d, r);
    r = it->newer;
    if (!pg_item_dead(it, now)) continue;
    d->expired++;
    dropped++;
    pg_dict_remove(d, it);
  }
  return dropped;
}

/* Empties the page of slots in which the oldest item lies. */
static int evict_page(pg_shdict *d) {
  if (!d->oldest) return 0;
  uint32_t page = pg_slab_page(d, d->oldest), from = 0;
  int evicted = 0;
  pg_ref r;
  while ((r = pg_slab_used(d, page, &from)) != 0) {
    pg_item *it = pg_at(d, r);
    /* An element takes its whole list along: no list loses its middle. */
    if (it->type & PG_ELEMENT) it = pg_at(d, ((pg_element *)it)->owner);
    pg_dict_remove(d, it);
    d->evicted++;
    evicted++;
  }
  return evicted;
}

pg_ref pg_dict_room(pg_shdict *d, int64_t now, size_t n, int32_t *forcible) {
  pg_ref r;
  if (drop_expired_old(d, now) && (r = pg_slab_alloc(d, n)) != 0) return r;
  for (int i = 0; i < EVICT_MAX && d->oldest; i++) {
    pg_item *it = pg_at(d, d->oldest);
    if (pg_item_dead(it, now)) {
      d->expired++;
    } else {
      d->evicted++;
      *forcible = 1;
    }
    pg_dict_remove(d, it);
    if ((r = pg_slab_alloc(d, n)) != 0) return r;
  }
  if (n <= PG_SLOT_MAX && evict_page(d)) {
    *forcible = 1;
    if ((r = pg_slab_alloc(d, n)) != 0) return r;
  }
  d->refused++;
  return 0;
}
