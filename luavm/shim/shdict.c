//go:build cgo && luajit

/*
 * shdict.c: the operations on one item of a shared dictionary, and the table
 * through which Lua calls all of them. The picture is in shdict.h.
 */
#include "shdict.h"

#include <string.h>

/* As in OpenResty a fraction of a millisecond counts as 0: for ever. */
static int64_t deadline(int64_t now, double ttl) {
  return ttl >= 1 && ttl < 9e15 ? now + (int64_t)ttl : 0;
}

/* Copies an item's value out; the lock is held. */
static int32_t copy_out(const pg_item *it, pg_dict_io *io) {
  io->flags = it->flags;
  switch (it->type) {
  case PG_DICT_LIST:
    return PG_DICT_IS_LIST;
  case PG_DICT_STRING:
    if (it->vlen > io->cap) {
      io->need = it->vlen;
      return PG_DICT_GROW;
    }
    memcpy(io->buf, it->data, it->vlen);
    io->len = it->vlen;
    break;
  case PG_DICT_NUMBER:
    memcpy(&io->num, it->data, sizeof io->num);
    break;
  default:
    io->num = it->data[0];
  }
  io->type = it->type;
  return PG_DICT_OK;
}

static int32_t api_get(pg_vm *vm, pg_shdict *d, const char *k, uint32_t kn,
                       int32_t stale, pg_dict_io *io) {
  pg_key key = pg_dict_key(d, k, kn);
  int32_t rc = PG_DICT_OK;
  int64_t now = pg_dict_enter(vm, d);
  if (!stale) pg_dict_tidy(d, now);
  pg_item *it = pg_dict_find(d, &key);
  int dead = it && pg_item_dead(it, now);
  if (!it || (dead && !stale)) {
    io->type = PG_DICT_NIL;
  } else {
    if (!dead) pg_dict_touch(d, it);
    io->stale = dead;
    rc = copy_out(it, io);
  }
  pg_dict_leave(vm, d);
  return rc;
}

/* Bytes that a value takes, and where they are. */
static uint32_t value_bytes(pg_dict_io *io, char *flag, const char **v,
                            uint32_t vn) {
  switch (io->type) {
  case PG_DICT_NUMBER:
    *v = (const char *)&io->num;
    return sizeof io->num;
  case PG_DICT_BOOL:
    *flag = io->num != 0;
    *v = flag;
    return 1;
  default:
    return vn;
  }
}

/* Whether the value may be stored under this key at all. */
static int32_t may_store(const pg_item *it, int64_t now, int32_t op) {
  int valid = it && !pg_item_dead(it, now);
  if ((op & PG_DICT_REPLACE) && !valid) return PG_DICT_NOT_FOUND;
  if ((op & PG_DICT_ADD) && valid) return PG_DICT_EXISTS;
  return PG_DICT_OK;
}

/* What a new item needs; forcible is told by it. */
typedef struct fresh {
  pg_key key;
  int64_t now;
  int32_t safe, forcible;
} fresh;

static pg_item *new_item(pg_shdict *d, fresh *f, uint32_t vsize) {
  size_t n = sizeof(pg_item) + (size_t)f->key.n + vsize;
  pg_ref r = pg_slab_alloc(d, n);
  if (!r && f->safe) d->refused++;
  if (!r && !f->safe) r = pg_dict_room(d, f->now, n, &f->forcible);
  return r ? pg_dict_link(d, r, &f->key, vsize) : NULL;
}

static int32_t api_store(pg_vm *vm, pg_shdict *d, const char *k, uint32_t kn,
                         int32_t op, const char *v, uint32_t vn, double ttl,
                         pg_dict_io *io) {
  char flag;
  uint32_t n = value_bytes(io, &flag, &v, vn);
  fresh f = {.key = pg_dict_key(d, k, kn), .safe = op & PG_DICT_SAFE};
  f.now = pg_dict_enter(vm, d);
  pg_dict_tidy(d, f.now);
  pg_item *it = pg_dict_find(d, &f.key);
  int32_t rc = may_store(it, f.now, op);
  if (rc != PG_DICT_OK) goto out;
  /* A value of the same length takes the old one's place. */
  if (it && (io->type == PG_DICT_NIL || it->type == PG_DICT_LIST ||
             it->vlen != n)) {
    pg_dict_remove(d, it);
    it = NULL;
  }
  if (io->type == PG_DICT_NIL) goto out;
  if (it) {
    pg_dict_touch(d, it);
  } else if (!(it = new_item(d, &f, n))) {
    rc = PG_DICT_NO_MEMORY;
    goto out;
  }
  it->type = (uint8_t)io->type;
  it->flags = io->flags;
  memcpy(it->data, v, n);
  pg_dict_set_expires(d, it, deadline(f.now, ttl));
out:
  pg_dict_leave(vm, d);
  io->forcible = f.forcible;
  return rc;
}

/* incr of a key that is not there, or has expired: it becomes num. */
static int32_t incr_fresh(pg_shdict *d, fresh *f, pg_item *it, double num,
                          double ttl) {
  if (it && (it->type == PG_DICT_LIST || it->vlen != sizeof num)) {
    pg_dict_remove(d, it);
    it = NULL;
  }
  if (it)
    pg_dict_touch(d, it);
  else if (!(it = new_item(d, f, sizeof num)))
    return PG_DICT_NO_MEMORY;
  it->type = PG_DICT_NUMBER;
  it->flags = 0;
  memcpy(it->data, &num, sizeof num);
  pg_dict_set_expires(d, it, deadline(f->now, ttl));
  return PG_DICT_OK;
}

static int32_t api_incr(pg_vm *vm, pg_shdict *d, const char *k, uint32_t kn,
                        int32_t has_init, double delta, double init,
                        double ttl, pg_dict_io *io) {
  fresh f = {.key = pg_dict_key(d, k, kn)};
  int32_t rc = PG_DICT_OK;
  f.now = pg_dict_enter(vm, d);
  pg_dict_tidy(d, f.now);
  pg_item *it = pg_dict_find(d, &f.key);
  if (it && !pg_item_dead(it, f.now)) {
    if (it->type == PG_DICT_NUMBER) {
      pg_dict_touch(d, it);
      memcpy(&io->num, it->data, sizeof io->num);
      io->num += delta;
      memcpy(it->data, &io->num, sizeof io->num);
    } else {
      rc = PG_DICT_NOT_NUMBER;
    }
  } else if (has_init) {
    io->num = init + delta;
    rc = incr_fresh(d, &f, it, io->num, ttl);
  } else {
    rc = PG_DICT_NOT_FOUND;
  }
  pg_dict_leave(vm, d);
  io->forcible = f.forcible;
  return rc;
}

/* ttl and expire see expired items too, and do not touch the LRU order. */
static int32_t api_ttl(pg_vm *vm, pg_shdict *d, const char *k, uint32_t kn,
                       pg_dict_io *io) {
  pg_key key = pg_dict_key(d, k, kn);
  int64_t now = pg_dict_enter(vm, d);
  pg_item *it = pg_dict_find(d, &key);
  int64_t e = it ? pg_item_expires(it) : 0;
  pg_dict_leave(vm, d);
  io->num = e ? (double)(e - now) : 0;
  return it ? PG_DICT_OK : PG_DICT_NOT_FOUND;
}

static int32_t api_expire(pg_vm *vm, pg_shdict *d, const char *k, uint32_t kn,
                          double ttl) {
  pg_key key = pg_dict_key(d, k, kn);
  int64_t now = pg_dict_enter(vm, d);
  pg_item *it = pg_dict_find(d, &key);
  if (it) pg_dict_set_expires(d, it, deadline(now, ttl));
  pg_dict_leave(vm, d);
  return it ? PG_DICT_OK : PG_DICT_NOT_FOUND;
}

static double api_capacity(const pg_shdict *d) { return (double)d->size; }

static double api_free_space(pg_vm *vm, pg_shdict *d) {
  pg_dict_enter(vm, d);
  double n = (double)d->free_pages * PG_PAGE;
  pg_dict_leave(vm, d);
  return n;
}

static const pg_dict_api api = {
    .get = api_get,
    .store = api_store,
    .incr = api_incr,
    .ttl = api_ttl,
    .expire = api_expire,
    .keys = pg_scan_keys,
    .flush_all = pg_scan_flush,
    .flush_expired = pg_scan_expired,
    .push = pg_list_push,
    .pop = pg_list_pop,
    .llen = pg_list_len,
    .capacity = api_capacity,
    .free_space = api_free_space,
};

const pg_dict_api *pg_dict(void) { return &api; }
