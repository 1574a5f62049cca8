//go:build cgo && luajit

/*
 * shdict_check.c: looks at every page, slot, item and link of a dictionary
 * and says what does not fit together. Tests call it after storms; it is slow
 * and holds the lock.
 */
#include "shdict.h"

/* What the walk has counted. */
typedef struct census {
  uint32_t items, mortal, used_slots, run_pages;
} census;

static int is_used(const pg_shdict *d, pg_ref r) {
  uint64_t off = (uint64_t)r * PG_GRAIN;
  if (off < d->data_off || off >= d->mapped) return 0;
  uint32_t page = pg_slab_page(d, r), from = 0;
  if (d->pages[page].state == PG_PAGE_RUN)
    return off == d->data_off + (uint64_t)(page - 1) * PG_PAGE;
  for (pg_ref u; (u = pg_slab_used(d, page, &from)) != 0; from++)
    if (u == r) return 1;
  return 0;
}

static void count_memory(const pg_shdict *d, pg_ref r, census *c) {
  const pg_page *p = &d->pages[pg_slab_page(d, r)];
  if (p->state == PG_PAGE_RUN) c->run_pages += p->run;
  else c->used_slots++;
}

static const char *check_list(pg_shdict *d, pg_item *it, census *c) {
  pg_ref prev = 0, r = pg_item_ends(it)->first;
  uint32_t n = 0;
  for (; r; n++) {
    if (!is_used(d, r)) return "an element is not in used memory";
    pg_element *el = pg_at(d, r);
    if (el->prev != prev) return "elements are not linked both ways";
    if (pg_at(d, el->owner) != (void *)it) return "an element has another owner";
    count_memory(d, r, c);
    prev = r;
    r = el->next;
  }
  if (prev != pg_item_ends(it)->last) return "a list ends elsewhere";
  if (n == 0 || n != it->vlen) return "a list has a wrong length";
  return NULL;
}

static const char *check_items(pg_shdict *d, census *c) {
  pg_ref older = 0;
  for (pg_ref r = d->oldest; r; c->items++) {
    if (!is_used(d, r)) return "an item is not in used memory";
    pg_item *it = pg_at(d, r);
    pg_key key = pg_dict_key(d, pg_item_key(it), it->klen);
    if (it->older != older) return "the LRU list is not linked both ways";
    if (it->hash != key.hash) return "a hash is wrong";
    if (pg_dict_find(d, &key) != it) return "an item is not found by its key";
    const char *bad = it->type == PG_DICT_LIST ? check_list(d, it, c) : NULL;
    if (bad) return bad;
    c->mortal += pg_item_expires(it) != 0;
    count_memory(d, r, c);
    older = r;
    r = it->newer;
  }
  if (older != d->newest) return "the LRU list ends elsewhere";
  if (c->items != d->items) return "the number of items is wrong";
  if (c->mortal != d->mortal) return "the number of mortal items is wrong";
  return NULL;
}

static const char *check_chains(const pg_shdict *d) {
  uint32_t n = 0;
  for (uint32_t b = 0; b < d->nbuckets; b++)
    for (pg_ref r = d->buckets[b]; r && n <= d->items; n++)
      r = ((const pg_item *)pg_at(d, r))->next;
  return n == d->items ? NULL : "chains hold another number of items";
}

static const char *check_pages(const pg_shdict *d, const census *c) {
  uint32_t slots = 0, runs = 0, open = 0, free_pages = 0, last_free = 0;
  for (uint32_t page = 1; page <= d->npages;) {
    const pg_page *p = &d->pages[page];
    uint32_t n = p->state == PG_PAGE_SLOTS ? 1 : p->run, used = 0;
    if (n == 0 || page + n - 1 > d->npages) return "a run has a wrong length";
    if (p->state == PG_PAGE_FREE) {
      if (last_free) return "free neighbours are not merged";
      if (d->pages[page + n - 1].run != n) return "a free run's ends differ";
      free_pages += n;
    } else if (p->state == PG_PAGE_RUN) {
      runs += n;
    } else {
      used = (uint32_t)(__builtin_popcountll(p->used[0]) +
                        __builtin_popcountll(p->used[1]));
      if (used == 0 || used != p->count) return "a page miscounts its slots";
      slots += used;
      open++;
    }
    last_free = p->state == PG_PAGE_FREE;
    page += n;
  }
  if (free_pages != d->free_pages) return "the number of free pages is wrong";
  if (free_pages + runs + open != d->npages) return "pages are missing";
  if (slots != c->used_slots || runs != c->run_pages) return "memory leaks";
  return NULL;
}

const char *pg_shdict_check(pg_shdict *d) {
  census c = {0};
  pg_dict_enter(NULL, d);
  const char *bad = check_items(d, &c);
  if (!bad) bad = check_chains(d);
  if (!bad) bad = check_pages(d, &c);
  pg_dict_leave(NULL, d);
  return bad;
}
