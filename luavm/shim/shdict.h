/*
 * shdict.h: inside of a shared dictionary (ngx.shared.DICT).
 *
 * One dictionary is one mmap'ed region of the declared size, seen by all VMs
 * of the process. Nothing of it lives elsewhere, so the size is a true bound.
 *
 *   offset 0                data_off                              size
 *   +--------+-------+---------+------+------+------+-- ... --+------+
 *   | header | pages | buckets | page | page | page |         | page |
 *   |        | desc. |  (refs) |  1   |  2   |  3   |         |  n   |
 *   +--------+-------+---------+------+------+------+-- ... --+------+
 *      |         |        |        \____________ 4096 bytes each
 *      |         |        +-- hash -> first item of a chain
 *      |         +-- for each page: free, cut into slots, or part of a run
 *      +-- lock, LRU ends, free runs, half-filled pages by slot size
 *
 * A ref is an offset from the region's start in units of 32 bytes; 0 is
 * "nothing" (the header is there). So a link costs 4 bytes, and a region may
 * have 128 GiB.
 *
 *   bucket --> item --next--> item --next--> 0            hash chain
 *
 *   oldest --newer--> item --newer--> ... --> newest      one LRU list
 *          <--older--      <--older--
 *
 *   item:  type klen hash next newer older flags expires vlen | value | key
 *   list:  an item whose value is {first, last}; vlen counts its elements
 *             first --> element <--> element <--> element <-- last
 *
 * The item's head takes 36 bytes, so that a number with a key of up to 20
 * bytes lies within one cache line: what a counter touches is its bucket,
 * its line, the header's lines, and its two neighbours in the LRU list when
 * it was not the newest already.
 *
 * Locking. One futex lock per dictionary, not shards: "evict the least
 * recently used" and "how much is free" are then true for the dictionary as
 * a whole, as scripts written for OpenResty expect, and a tiny dictionary
 * (12k) does not break into unusable pieces. Sections are short (a counter's
 * takes some 20 ns); only flush_all, flush_expired, get_keys and the removal
 * of a list are linear. While the lock is held vm->crit is not 0 and the
 * watchdog does not jump out of C; everything that can block (a page fault
 * aside) or allocate from the C heap happens outside.
 *
 * Eviction. Each operation first drops up to two expired items from the old
 * end, as OpenResty's does. When memory is short: expired items among the
 * sixteen oldest, then the oldest ones, up to thirty. Where that
 * did not help because sizes do not match (thousands of small counters, and
 * now a bigger value: a slot of another size needs a whole page to become
 * free), all items of the page that holds the oldest one go. OpenResty
 * answers "no memory" there. Only a value that needs several pages in a row
 * can still fail.
 */
#ifndef PERIGEE_SHDICT_H
#define PERIGEE_SHDICT_H

#include "perigee_ffi.h"

#define PG_PAGE 4096u
#define PG_GRAIN 32u
#define PG_SLOT_MAX 2048u        /* larger values take whole pages */
#define PG_CLASSES 12u
#define PG_BINS 32u
#define PG_BUCKETS_PER_PAGE 32u  /* an item has 64 bytes at least: load <= 2 */
#define PG_SPARE_PAGES 3u        /* bookkeeping of a small dictionary */
#define PG_ELEMENT 0x80u         /* bit of the type byte: element of a list */

typedef uint32_t pg_ref;

typedef struct pg_item {
  uint8_t type;                  /* PG_DICT_*; first in pg_element, too */
  uint8_t unused;
  uint16_t klen;
  uint32_t hash;
  pg_ref next, newer, older;
  int32_t flags;
  uint32_t expires_lo, expires_hi;  /* ms since 1970, 0: never; unaligned */
  uint32_t vlen;                 /* bytes of the value; elements of a list */
  char data[];                   /* value, then key */
} pg_item;

typedef struct pg_key { const char *p; uint32_t n, hash; } pg_key;

typedef struct pg_ends { pg_ref first, last; } pg_ends;

typedef struct pg_element {
  uint8_t type;                  /* PG_ELEMENT | PG_DICT_NUMBER or STRING */
  uint8_t unused[3];
  uint32_t len;
  pg_ref next, prev, owner;
  char data[];
} pg_element;

enum { PG_PAGE_FREE = 0, PG_PAGE_SLOTS = 1, PG_PAGE_RUN = 2 };

typedef struct pg_page {
  uint64_t used[2];              /* SLOTS: a bit for each slot */
  uint32_t next, prev;           /* partial[] or bins[] list; 0: end */
  uint32_t run;                  /* FREE (both ends), RUN: pages of the run */
  uint8_t state, cls, count, unused;   /* count: used slots */
} pg_page;

struct pg_shdict {
  uint32_t lock;                 /* 0 free, 1 held, 2 held and waited for */
  uint32_t name_len;
  uint64_t size;                 /* as declared */
  uint64_t mapped;
  char *name;                    /* C heap, ends with NUL */
  uint64_t seed;
  pg_page *pages;                /* pages[1..npages] */
  pg_ref *buckets;
  uint32_t nbuckets, npages;
  uint64_t data_off;

  pg_ref newest, oldest;         /* LRU */
  uint32_t items;
  uint32_t mortal;               /* items that have a time to die */
  uint32_t free_pages;
  uint32_t bin_mask;             /* bit b: bins[b] is not empty */
  uint32_t bins[PG_BINS];        /* free runs of 2^b .. 2^(b+1)-1 pages */
  uint32_t partial[PG_CLASSES];  /* pages with a free slot */
  uint64_t evicted, expired, refused;
};

static inline void *pg_at(const pg_shdict *d, pg_ref r) {
  return (char *)d + (size_t)r * PG_GRAIN;
}

static inline pg_ref pg_ref_of(const pg_shdict *d, const void *p) {
  return (pg_ref)((size_t)((const char *)p - (const char *)d) / PG_GRAIN);
}

static inline int64_t pg_item_expires(const pg_item *it) {
  return (int64_t)((uint64_t)it->expires_hi << 32 | it->expires_lo);
}

static inline char *pg_item_key(const pg_item *it) {
  uint32_t n = it->type == PG_DICT_LIST ? (uint32_t)sizeof(pg_ends) : it->vlen;
  return (char *)it->data + n;
}

static inline pg_ends *pg_item_ends(const pg_item *it) {
  return (pg_ends *)it->data;
}

/* shdict_slab.c: memory. All of it runs under the lock. */
void pg_slab_init(pg_shdict *d);
pg_ref pg_slab_alloc(pg_shdict *d, size_t n);      /* 0: no room */
void pg_slab_free(pg_shdict *d, pg_ref r);
uint32_t pg_slab_page(const pg_shdict *d, pg_ref r);
/* the used slot at or after `from` of a page cut into slots; 0: none */
pg_ref pg_slab_used(const pg_shdict *d, uint32_t page, uint32_t *from);

/* shdict_item.c: items; under the lock, too, but for enter and leave */
int64_t pg_dict_enter(pg_vm *vm, pg_shdict *d);    /* locks; the time in ms */
void pg_dict_leave(pg_vm *vm, pg_shdict *d);
uint32_t pg_dict_hash(const pg_shdict *d, const char *k, uint32_t kn);
pg_item *pg_dict_find(pg_shdict *d, const pg_key *key);
void pg_dict_touch(pg_shdict *d, pg_item *it);
void pg_dict_remove(pg_shdict *d, pg_item *it);
void pg_dict_tidy(pg_shdict *d, int64_t now);
void pg_dict_set_expires(pg_shdict *d, pg_item *it, int64_t ms);
/* links a new item with its key; the caller fills in the value */
pg_item *pg_dict_link(pg_shdict *d, pg_ref r, const pg_key *key,
                      uint32_t vsize);
/* Memory for n bytes at the cost of other items, or 0. *forcible becomes 1
   when items went that were still valid. */
pg_ref pg_dict_room(pg_shdict *d, int64_t now, size_t n, int32_t *forcible);

static inline pg_key pg_dict_key(const pg_shdict *d, const char *k,
                                 uint32_t kn) {
  return (pg_key){k, kn, pg_dict_hash(d, k, kn)};
}

static inline int pg_item_dead(const pg_item *it, int64_t now) {
  int64_t e = pg_item_expires(it);
  return e != 0 && e <= now;
}

/* shdict_list.c */
void pg_list_clear(pg_shdict *d, pg_item *it);
int32_t pg_list_push(pg_vm *vm, pg_shdict *d, const char *k, uint32_t kn,
                     int32_t left, const char *v, uint32_t vn, pg_dict_io *io);
int32_t pg_list_pop(pg_vm *vm, pg_shdict *d, const char *k, uint32_t kn,
                    int32_t left, pg_dict_io *io);
int32_t pg_list_len(pg_vm *vm, pg_shdict *d, const char *k, uint32_t kn,
                    pg_dict_io *io);

/* shdict_scan.c: what looks at all items */
int32_t pg_scan_keys(pg_vm *vm, pg_shdict *d, uint32_t max, pg_dict_io *io);
void pg_scan_flush(pg_vm *vm, pg_shdict *d);
double pg_scan_expired(pg_vm *vm, pg_shdict *d, uint32_t max);

/* shdict_region.c: for Go. open returns NULL with errno set. */
pg_shdict *pg_shdict_open(const char *name, uint32_t n, uint64_t size);
void pg_shdict_close(pg_shdict *d);

typedef struct pg_dict_stats {
  uint64_t capacity, free, items, evicted, expired, refused;
} pg_dict_stats;
void pg_shdict_stats(pg_shdict *d, pg_dict_stats *out);
/* shdict_check.c: what is wrong inside, or NULL */
const char *pg_shdict_check(pg_shdict *d);

#endif
