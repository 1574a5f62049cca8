//go:build cgo && luajit

/*
 * shdict_region.c: the memory region of a shared dictionary, made and given
 * back by Go.
 */
#include "shdict.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

/* Bookkeeping of n pages, in bytes. */
static uint64_t meta_bytes(uint64_t n) {
  return sizeof(pg_shdict) + (n + 1) * sizeof(pg_page) +
         n * PG_BUCKETS_PER_PAGE * sizeof(pg_ref);
}

static uint64_t pages_for(uint64_t bytes) {
  return (bytes + PG_PAGE - 1) / PG_PAGE;
}

/* Splits the region's pages. A small dictionary spends three on bookkeeping,
   as nginx does, so that one sized by trial there holds as much here; what
   is not needed of them becomes buckets. */
static void lay_out(pg_shdict *d, uint64_t total) {
  uint64_t n = total - 1;
  while (n > 1 && pages_for(meta_bytes(n)) + n > total) n--;
  if (n > 1 && n > total - PG_SPARE_PAGES)
    n = total > PG_SPARE_PAGES ? total - PG_SPARE_PAGES : 1;
  d->npages = (uint32_t)n;
  d->data_off = (total - n) * PG_PAGE;
  d->pages = (pg_page *)(d + 1);
  d->buckets = (pg_ref *)(d->pages + n + 1);
  d->nbuckets = (uint32_t)((d->data_off - (uint64_t)((char *)d->buckets -
                                                     (char *)d)) /
                           sizeof(pg_ref));
}

pg_shdict *pg_shdict_open(const char *name, uint32_t n, uint64_t size) {
  uint64_t total = size / PG_PAGE;
  if (total < 2 || size / PG_GRAIN > UINT32_MAX) {
    errno = EINVAL;
    return NULL;
  }
  char *copy = malloc((size_t)n + 1);
  if (!copy) return NULL;
  memcpy(copy, name, n);
  copy[n] = 0;
  pg_shdict *d = mmap(NULL, total * PG_PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (d == MAP_FAILED) {
    free(copy);
    return NULL;
  }
  d->name = copy;
  d->name_len = n;
  d->size = size;
  d->mapped = total * PG_PAGE;
  if (getrandom(&d->seed, sizeof d->seed, GRND_NONBLOCK) != sizeof d->seed)
    d->seed = (uint64_t)(uintptr_t)d * 0x9e3779b97f4a7c15ull;
  lay_out(d, total);
  pg_slab_init(d);
  return d;
}

void pg_shdict_close(pg_shdict *d) {
  free(d->name);
  munmap(d, d->mapped);
}

void pg_shdict_stats(pg_shdict *d, pg_dict_stats *out) {
  pg_dict_enter(NULL, d);
  out->capacity = d->size;
  out->free = (uint64_t)d->free_pages * PG_PAGE;
  out->items = d->items;
  out->evicted = d->evicted;
  out->expired = d->expired;
  out->refused = d->refused;
  pg_dict_leave(NULL, d);
}
