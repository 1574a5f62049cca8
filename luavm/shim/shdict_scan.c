//go:build cgo && luajit

/*
 * shdict_scan.c: operations that look at all items of a shared dictionary.
 * They hold the lock for a time that grows with the number of items (about
 * 10 ns for each that is in a cache, 100 ns otherwise); scripts know them as
 * the expensive ones from OpenResty.
 */
#include "shdict.h"

#include <string.h>

/* Bytes that the first max valid keys take, from the oldest on. */
static double keys_bytes(const pg_shdict *d, int64_t now, uint32_t max) {
  double bytes = 0;
  uint32_t n = 0;
  for (pg_ref r = d->oldest; r && (!max || n < max);) {
    const pg_item *it = pg_at(d, r);
    r = it->newer;
    if (pg_item_dead(it, now)) continue;
    bytes += (double)sizeof(uint16_t) + it->klen;
    n++;
  }
  return bytes;
}

int32_t pg_scan_keys(pg_vm *vm, pg_shdict *d, uint32_t max, pg_dict_io *io) {
  int32_t rc = PG_DICT_OK;
  uint32_t n = 0;
  char *p = io->buf;
  int64_t now = pg_dict_enter(vm, d);
  io->need = keys_bytes(d, now, max);
  if (io->need > io->cap) {
    rc = PG_DICT_GROW;
  } else {
    for (pg_ref r = d->oldest; r && (!max || n < max);) {
      const pg_item *it = pg_at(d, r);
      r = it->newer;
      if (pg_item_dead(it, now)) continue;
      memcpy(p, &it->klen, sizeof it->klen);
      memcpy(p + sizeof it->klen, pg_item_key(it), it->klen);
      p += sizeof it->klen + it->klen;
      n++;
    }
  }
  pg_dict_leave(vm, d);
  io->num = n;
  return rc;
}

/* All items become expired, not removed: get_stale still finds them, and the
   calls that follow drop them two by two. */
void pg_scan_flush(pg_vm *vm, pg_shdict *d) {
  int64_t now = pg_dict_enter(vm, d);
  for (pg_ref r = d->oldest; r;) {
    pg_item *it = pg_at(d, r);
    pg_dict_set_expires(d, it, 1);
    r = it->newer;
  }
  pg_dict_tidy(d, now);
  pg_dict_leave(vm, d);
}

double pg_scan_expired(pg_vm *vm, pg_shdict *d, uint32_t max) {
  uint32_t n = 0;
  int64_t now = pg_dict_enter(vm, d);
  for (pg_ref r = d->oldest; r && d->mortal && (!max || n < max);) {
    pg_item *it = pg_at(d, r);
    r = it->newer;
    if (!pg_item_dead(it, now)) continue;
    pg_dict_remove(d, it);
    d->expired++;
    n++;
  }
  pg_dict_leave(vm, d);
  return n;
}
