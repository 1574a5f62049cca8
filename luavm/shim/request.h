/*
 * request.h: what the request_*.c files share. Not seen by Go or Lua.
 */
#ifndef PERIGEE_REQUEST_H
#define PERIGEE_REQUEST_H

#include "perigee_ffi.h"

/*
 * A field of a head as it stands after replay.
 *
 * Offsets, not pointers: the log moves when it grows, and an offset can be
 * checked against the length that is true now.
 */
typedef struct pg_listed {
  uint32_t hash;               /* of the name, without case */
  uint32_t name, name_n;
  uint32_t value, value_n;
  uint8_t name_in, value_in;   /* PG_FROM_* */
  uint8_t gone;
} pg_listed;

enum { PG_FROM_HEAD = 0, PG_FROM_LOG = 1 };

typedef struct pg_list {       /* one side's fields */
  pg_listed *e;
  uint32_t n, cap;
  uint32_t log_seen;           /* the log is replayed up to here */
  int built;
} pg_list;

typedef struct pg_view {
  /* whose view it is; slot NULL: nobody's */
  const pg_slot *slot;
  uint32_t gen;
  pg_str head[2];              /* by PG_SIDE_*, as they were lent */
  pg_list list[2];
  pg_field *out; uint32_t out_cap;     /* what fields and args return */
  char *names; uint32_t names_cap;     /* a name about to be written */
  char *text; uint32_t text_cap;       /* escape, joined values, lower-cased names */
} pg_view;

/* How a wanted name compares: PG_NAME_PLAIN folds case only;
   PG_NAME_DASHED also reads _ in the wanted name as -. */
enum { PG_NAME_PLAIN = 0, PG_NAME_DASHED = 1 };

/* This thread's memory; NULL when there is none to be had. */
pg_view *pg_view_memory(void);
/* The view of a slot with one side parsed and replayed; NULL: no memory. */
pg_view *pg_view_of(const pg_slot *s, uint32_t side);
/* The next entry at or after i with that name, or -1. */
int pg_view_next(const pg_view *v, uint32_t side, uint32_t i,
                 const char *name, uint32_t n, int how);
pg_str pg_view_value(const pg_view *v, const pg_slot *s, uint32_t side,
                     const pg_listed *e);
pg_str pg_view_name(const pg_view *v, const pg_slot *s, uint32_t side,
                    const pg_listed *e);
/* The text at an offset, or an empty one when it does not lie inside. */
static inline pg_str pg_view_text_at(pg_str block, uint32_t at, uint32_t n)
{
  pg_str none = {"", 0}, got;
  if ((uint64_t)at + n > block.n || !block.p)
    return none;
  got.p = block.p + at;
  got.n = n;
  return got;
}
/* What names and values of a side point into, by PG_FROM_*. */
static inline void pg_view_blocks(const pg_view *v, const pg_slot *s,
                                  uint32_t side, pg_str blocks[2])
{
  blocks[PG_FROM_HEAD] = v->head[side];
  blocks[PG_FROM_LOG].p = s->log;
  blocks[PG_FROM_LOG].n = s->log_len;
}
/* At least n bytes of this thread's text memory; NULL: none. */
char *pg_view_text(pg_view *v, uint64_t n);
char *pg_view_names(pg_view *v, uint64_t n);
pg_field *pg_view_out(pg_view *v, uint64_t n);

/* Declared for vm.c too: the table for Lua, and the call that must stand at
   the start of every resume (what was lent before is no longer there). */
const pg_request_api *pg_request(void);
void pg_request_enter(void);
const pg_core_api *pg_core(void);

/* the functions of pg_request_api that have a file of their own */
int pg_get_var(pg_vm *vm, const char *name, uint32_t n, pg_str *out);
int pg_set_var(pg_slot *s, const char *name, uint32_t n,
               const char *v, uint32_t vn, uint32_t nil);
int pg_set_text(pg_slot *s, uint32_t kind, uint32_t aux,
                const char *v, uint32_t vn);
int pg_body(pg_slot *s, pg_str *out);
int pg_body_moved(pg_slot *s, const char *path, uint32_t n);
int pg_body_file(pg_slot *s, uint32_t aux, const char *path, uint32_t n,
                 double size);
int pg_escape(uint32_t set, const char *p, uint32_t n, pg_str *out);
int pg_unescape(const char *p, uint32_t n, pg_str *out);
const pg_field *pg_pairs(const char *p, uint32_t n, int32_t max,
                        uint32_t each, int32_t *count);
int pg_unsafe_byte(const char *p, uint32_t n);

/* ASCII only: the C library's depend on the locale. */
static inline unsigned char pg_lower(unsigned char c)
{
  return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c;
}

/* <0, 0, >0 as memcmp; b is in lower case and ends with NUL */
static inline int pg_name_compare(const char *a, uint32_t n, const char *b)
{
  uint32_t i;
  for (i = 0; i < n; i++) {
    int d = pg_lower((unsigned char)a[i]) - (unsigned char)b[i];
    if (d || !b[i])
      return d ? d : 1;
  }
  return b[n] ? -1 : 0;
}

/* equal but for case */
static inline int pg_same_text(const char *a, const char *b, uint32_t n)
{
  while (n && pg_lower((unsigned char)*a) == pg_lower((unsigned char)*b)) {
    a++;
    b++;
    n--;
  }
  return !n;
}

static inline int pg_given(pg_str *out, const char *p, uint32_t n)
{
  out->p = p;
  out->n = n;
  return p != NULL;
}

/* fill.c: 0, or PG_E_MEMORY */
int pg_fill_parts(pg_slot *s, uint32_t parts);

/* Before vars[] of these parts are read, or written by other than their filler. */
static inline int pg_fill(pg_slot *s, uint32_t parts)
{
  return s->unfilled & parts ? pg_fill_parts(s, parts) : 0;
}

/* request_family.c: 1 with the value, 0, or PG_E_MEMORY */
int pg_var_field(const pg_slot *s, uint32_t side, const char *name,
                 uint32_t n, pg_str *out);
int pg_var_arg(pg_slot *s, const char *name, uint32_t n, pg_str *out);
int pg_var_cookie(const pg_slot *s, const char *name, uint32_t n,
                  pg_str *out);

/* For Go, when its copy does not fit. extra_cap counts pairs. */
int pg_arena_grow(pg_slot *s, uint64_t need);
int pg_extra_grow(pg_slot *s);

/* Copies into the slot's arena; 0, or PG_E_MEMORY. Moves vars and extra
   along when the arena moves. What *at held is reused when it is long
   enough. */
int pg_arena_put(pg_slot *s, pg_str *at, const char *p, uint32_t n);

#endif
