//go:build cgo && luajit

/*
 * shdict_slab.c: memory inside of a dictionary's region.
 *
 * Up to 2048 bytes come from pages cut into slots of one size (a class);
 * a page knows its used slots by a bitmap in its descriptor, so slots carry
 * no header. Larger values take whole pages in a row. A page whose last slot
 * is freed goes back to the free runs at once and merges with its neighbours:
 * memory does not stay with a size that was in fashion once.
 *
 *   bins[0]  -> runs of 1 page          partial[class] -> pages that still
 *   bins[1]  -> runs of 2..3                              have a free slot
 *   bins[b]  -> runs of 2^b..2^(b+1)-1  (full pages are in no list)
 *
 *   a free run of 5:  [run=5] [ ] [ ] [ ] [run=5]   both ends say its length,
 *                                                   so neighbours can merge
 */
#include "shdict.h"

#include <string.h>

/* All are multiples of the grain. 1344 is a third of a page. */
static const uint16_t slot_size[PG_CLASSES] = {
    32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1344, 2048};
static const uint8_t slots_in[PG_CLASSES] = {128, 64, 42, 32, 21, 16,
                                             10,  8,  5,  4,  3,  2};

static uint32_t class_of(size_t n) {
  uint32_t c = 0;
  while (slot_size[c] < n) c++;
  return c;
}

uint32_t pg_slab_page(const pg_shdict *d, pg_ref r) {
  return (uint32_t)(((uint64_t)r * PG_GRAIN - d->data_off) / PG_PAGE) + 1;
}

static pg_ref page_ref(const pg_shdict *d, uint32_t page) {
  return (pg_ref)((d->data_off + (uint64_t)(page - 1) * PG_PAGE) / PG_GRAIN);
}

static uint32_t bin_of(uint32_t run) {
  return 31u - (uint32_t)__builtin_clz(run);
}

static void list_push(pg_shdict *d, uint32_t *head, uint32_t page) {
  d->pages[page].prev = 0;
  d->pages[page].next = *head;
  if (*head) d->pages[*head].prev = page;
  *head = page;
}

static void list_drop(pg_shdict *d, uint32_t *head, uint32_t page) {
  pg_page *p = &d->pages[page];
  if (p->prev) d->pages[p->prev].next = p->next; else *head = p->next;
  if (p->next) d->pages[p->next].prev = p->prev;
}

static void run_insert(pg_shdict *d, uint32_t page, uint32_t n) {
  uint32_t b = bin_of(n);
  d->pages[page].state = PG_PAGE_FREE;
  d->pages[page].run = n;
  d->pages[page + n - 1].state = PG_PAGE_FREE;
  d->pages[page + n - 1].run = n;
  list_push(d, &d->bins[b], page);
  d->bin_mask |= 1u << b;
}

static void run_remove(pg_shdict *d, uint32_t page) {
  uint32_t b = bin_of(d->pages[page].run);
  list_drop(d, &d->bins[b], page);
  if (!d->bins[b]) d->bin_mask &= ~(1u << b);
}

/* A run that is long enough: the first of the bins whose runs all are; but
   before that a short look into the bin where only some are. */
static uint32_t run_find(const pg_shdict *d, uint32_t n) {
  uint32_t b = bin_of(n), look = 64, page;
  for (page = d->bins[b]; page && look--; page = d->pages[page].next)
    if (d->pages[page].run >= n) return page;
  uint32_t above = b == 31 ? 0 : d->bin_mask >> (b + 1) << (b + 1);
  return above ? d->bins[__builtin_ctz(above)] : 0;
}

static uint32_t run_take(pg_shdict *d, uint32_t n) {
  uint32_t page = run_find(d, n);
  if (!page) return 0;
  uint32_t have = d->pages[page].run;
  run_remove(d, page);
  if (have > n) run_insert(d, page + n, have - n);
  d->free_pages -= n;
  return page;
}

static void run_give(pg_shdict *d, uint32_t page, uint32_t n) {
  d->free_pages += n;
  /* Inner pages of a run keep old states. Both neighbours are ends of
     something, so theirs are true; but this run's own must not be stale. */
  if (page + n <= d->npages && d->pages[page + n].state == PG_PAGE_FREE) {
    uint32_t after = page + n;
    run_remove(d, after);
    n += d->pages[after].run;
  }
  if (page > 1 && d->pages[page - 1].state == PG_PAGE_FREE) {
    uint32_t before = page - d->pages[page - 1].run;
    run_remove(d, before);
    n += page - before;
    page = before;
  }
  run_insert(d, page, n);
}

void pg_slab_init(pg_shdict *d) {
  memset(d->bins, 0, sizeof d->bins);
  memset(d->partial, 0, sizeof d->partial);
  d->bin_mask = 0;
  d->free_pages = 0;
  run_give(d, 1, d->npages);
}

static pg_ref alloc_pages(pg_shdict *d, size_t n) {
  uint64_t pages = (n + PG_PAGE - 1) / PG_PAGE;
  if (pages > d->npages) return 0;
  uint32_t page = run_take(d, (uint32_t)pages);
  if (!page) return 0;
  /* Both ends say that they are taken: see run_give. */
  d->pages[page].state = PG_PAGE_RUN;
  d->pages[page].run = (uint32_t)pages;
  d->pages[page + pages - 1].state = PG_PAGE_RUN;
  return page_ref(d, page);
}

static uint32_t open_page(pg_shdict *d, uint32_t cls) {
  uint32_t page = run_take(d, 1);
  if (!page) return 0;
  pg_page *p = &d->pages[page];
  p->state = PG_PAGE_SLOTS;
  p->cls = (uint8_t)cls;
  p->count = 0;
  p->used[0] = p->used[1] = 0;
  list_push(d, &d->partial[cls], page);
  return page;
}

pg_ref pg_slab_alloc(pg_shdict *d, size_t n) {
  if (n > PG_SLOT_MAX) return alloc_pages(d, n);
  uint32_t cls = class_of(n), page = d->partial[cls];
  if (!page && !(page = open_page(d, cls))) return 0;
  pg_page *p = &d->pages[page];
  uint32_t word = p->used[0] == ~0ull;
  uint32_t slot = (uint32_t)__builtin_ctzll(~p->used[word]) + word * 64;
  p->used[word] |= 1ull << (slot & 63);
  if (++p->count == slots_in[cls]) list_drop(d, &d->partial[cls], page);
  return page_ref(d, page) + slot * (slot_size[cls] / PG_GRAIN);
}

void pg_slab_free(pg_shdict *d, pg_ref r) {
  uint32_t page = pg_slab_page(d, r);
  pg_page *p = &d->pages[page];
  if (p->state == PG_PAGE_RUN) {
    run_give(d, page, p->run);
    return;
  }
  uint32_t slot = (r - page_ref(d, page)) / (slot_size[p->cls] / PG_GRAIN);
  p->used[slot >> 6] &= ~(1ull << (slot & 63));
  if (p->count-- == slots_in[p->cls]) list_push(d, &d->partial[p->cls], page);
  if (p->count == 0) {
    list_drop(d, &d->partial[p->cls], page);
    run_give(d, page, 1);
  }
}

pg_ref pg_slab_used(const pg_shdict *d, uint32_t page, uint32_t *from) {
  const pg_page *p = &d->pages[page];
  if (p->state != PG_PAGE_SLOTS) return 0;
  for (uint32_t s = *from; s < slots_in[p->cls]; s++) {
    if (p->used[s >> 6] >> (s & 63) & 1) {
      *from = s;
      return page_ref(d, page) + s * (slot_size[p->cls] / PG_GRAIN);
    }
  }
  return 0;
}
