//go:build cgo && luajit

/*
 * shdict_list.c: lists in a shared dictionary (lpush, rpop, ...). A list is
 * an item whose value is the two ends; see shdict.h. It never stands empty:
 * the last pop removes the item.
 */
#include "shdict.h"

#include <string.h>

static pg_element *element(const pg_shdict *d, pg_ref r) {
  return r ? pg_at(d, r) : NULL;
}

void pg_list_clear(pg_shdict *d, pg_item *it) {
  for (pg_ref r = pg_item_ends(it)->first; r;) {
    pg_ref next = element(d, r)->next;
    pg_slab_free(d, r);
    r = next;
  }
  pg_item_ends(it)->first = pg_item_ends(it)->last = 0;
  it->vlen = 0;
}

static void attach(pg_shdict *d, pg_item *it, pg_element *el, int32_t left) {
  pg_ends *ends = pg_item_ends(it);
  pg_ref r = pg_ref_of(d, el);
  el->next = left ? ends->first : 0;
  el->prev = left ? 0 : ends->last;
  el->owner = pg_ref_of(d, it);
  if (el->next) element(d, el->next)->prev = r; else ends->last = r;
  if (el->prev) element(d, el->prev)->next = r; else ends->first = r;
  it->vlen++;
}

static void detach(pg_shdict *d, pg_item *it, pg_element *el) {
  pg_ends *ends = pg_item_ends(it);
  if (el->prev) element(d, el->prev)->next = el->next;
  else ends->first = el->next;
  if (el->next) element(d, el->next)->prev = el->prev;
  else ends->last = el->prev;
  pg_slab_free(d, pg_ref_of(d, el));
  if (--it->vlen == 0) pg_dict_remove(d, it);
  else pg_dict_touch(d, it);
}

static pg_item *new_list(pg_shdict *d, const pg_key *key) {
  pg_ref r = pg_slab_alloc(d, sizeof(pg_item) + sizeof(pg_ends) + key->n);
  if (!r) return NULL;
  pg_item *it = pg_dict_link(d, r, key, sizeof(pg_ends));
  it->type = PG_DICT_LIST;
  it->vlen = 0;
  memset(it->data, 0, sizeof(pg_ends));
  return it;
}

/* The list of this key, made or emptied when needed. */
static int32_t open_list(pg_shdict *d, int64_t now, const pg_key *key,
                         pg_item **out) {
  pg_item *it = pg_dict_find(d, key);
  if (it && pg_item_dead(it, now)) {
    pg_dict_remove(d, it);
    it = NULL;
  }
  if (it && it->type != PG_DICT_LIST) return PG_DICT_NOT_LIST;
  if (it) {
    pg_dict_touch(d, it);
  } else if (!(it = new_list(d, key))) {
    d->refused++;
    return PG_DICT_NO_LIST_ROOM;
  }
  *out = it;
  return PG_DICT_OK;
}

/* As in OpenResty a push evicts nothing. */
int32_t pg_list_push(pg_vm *vm, pg_shdict *d, const char *k, uint32_t kn,
                     int32_t left, const char *v, uint32_t vn,
                     pg_dict_io *io) {
  pg_key key = pg_dict_key(d, k, kn);
  pg_item *it;
  if (io->type == PG_DICT_NUMBER) {
    v = (const char *)&io->num;
    vn = sizeof io->num;
  }
  int64_t now = pg_dict_enter(vm, d);
  pg_dict_tidy(d, now);
  int32_t rc = open_list(d, now, &key, &it);
  if (rc == PG_DICT_OK) {
    pg_ref r = pg_slab_alloc(d, sizeof(pg_element) + (size_t)vn);
    if (r) {
      pg_element *el = pg_at(d, r);
      el->type = (uint8_t)(PG_ELEMENT | io->type);
      el->len = vn;
      memcpy(el->data, v, vn);
      attach(d, it, el, left);
      io->num = it->vlen;
    } else {
      if (it->vlen == 0) pg_dict_remove(d, it);
      d->refused++;
      rc = PG_DICT_NO_MEMORY;
    }
  }
  pg_dict_leave(vm, d);
  return rc;
}

/* Finds a valid list, for reading. */
static int32_t read_list(pg_shdict *d, int64_t now, const pg_key *key,
                         pg_item **out) {
  pg_dict_tidy(d, now);
  pg_item *it = pg_dict_find(d, key);
  if (!it || pg_item_dead(it, now)) return PG_DICT_NOT_FOUND;
  if (it->type != PG_DICT_LIST) return PG_DICT_NOT_LIST;
  *out = it;
  return PG_DICT_OK;
}

int32_t pg_list_pop(pg_vm *vm, pg_shdict *d, const char *k, uint32_t kn,
                    int32_t left, pg_dict_io *io) {
  pg_key key = pg_dict_key(d, k, kn);
  pg_item *it;
  int64_t now = pg_dict_enter(vm, d);
  int32_t rc = read_list(d, now, &key, &it);
  if (rc == PG_DICT_OK) {
    pg_ends *ends = pg_item_ends(it);
    pg_element *el = element(d, left ? ends->first : ends->last);
    io->type = el->type & ~PG_ELEMENT;
    if (io->type == PG_DICT_NUMBER) {
      memcpy(&io->num, el->data, sizeof io->num);
      detach(d, it, el);
    } else if (el->len <= io->cap) {
      memcpy(io->buf, el->data, el->len);
      io->len = el->len;
      detach(d, it, el);
    } else {
      io->need = el->len;
      rc = PG_DICT_GROW;
    }
  }
  pg_dict_leave(vm, d);
  return rc;
}

int32_t pg_list_len(pg_vm *vm, pg_shdict *d, const char *k, uint32_t kn,
                    pg_dict_io *io) {
  pg_key key = pg_dict_key(d, k, kn);
  pg_item *it;
  int64_t now = pg_dict_enter(vm, d);
  int32_t rc = read_list(d, now, &key, &it);
  if (rc == PG_DICT_OK) {
    pg_dict_touch(d, it);
    io->num = it->vlen;
  }
  pg_dict_leave(vm, d);
  return rc;
}
