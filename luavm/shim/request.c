//go:build cgo && luajit

/*
 * request.c: pg_request_api, and what writes: fields, texts, the arena.
 *
 * A write is an edit in the log; Go applies it after the run. What Lua reads
 * back comes from replay (fields, body) or from vars[], which is changed
 * beside the log (uri, args, method, set variables).
 */
#include "request.h"

#include <stdlib.h>
#include <string.h>

static int values(pg_slot *s, uint32_t side, const char *name, uint32_t n,
                  pg_str *out, int32_t max)
{
  pg_view *v = pg_view_of(s, side);
  /* ngx.header reads and writes underscores as dashes */
  int how = side == PG_SIDE_RESP && !(s->flags & PG_F_UNDERSCORES)
                ? PG_NAME_DASHED : PG_NAME_PLAIN;
  int32_t found = 0;
  int i = -1;
  if (!v)
    return PG_E_MEMORY;
  while ((i = pg_view_next(v, side, (uint32_t)(i + 1), name, n, how)) >= 0) {
    if (found < max)
      out[found] = pg_view_value(v, s, side, &v->list[side].e[i]);
    found++;
  }
  return found;
}

/* Eight bytes in lower case: 0x20 wherever a byte of ASCII is in A..Z. */
static uint64_t lower8(uint64_t w)
{
  const uint64_t each = 0x0101010101010101u;
  uint64_t low = w & 0x7f * each;
  uint64_t from_a = low + (0x80 - 'A') * each;
  uint64_t above_z = low + (0x7f - 'Z') * each;
  return w | ((from_a ^ above_z) & ~w & 0x80 * each) >> 2;
}

static uint64_t load8(const char *p)
{
  uint64_t w;
  memcpy(&w, p, sizeof w);
  return w;
}

/* Words may overlap: what is in lower case stays so. */
static void lower_to(char *to, const char *p, uint32_t n)
{
  uint64_t w;
  uint32_t i;
  if (n < 4) {
    for (i = 0; i < n; i++)
      to[i] = (char)pg_lower((unsigned char)p[i]);
    return;
  }
  if (n < 8) {
    uint32_t ends[2];
    memcpy(&ends[0], p, 4);
    memcpy(&ends[1], p + n - 4, 4);
    w = lower8((uint64_t)ends[1] << 32 | ends[0]);
    ends[0] = (uint32_t)w;
    ends[1] = (uint32_t)(w >> 32);
    memcpy(to, &ends[0], 4);
    memcpy(to + n - 4, &ends[1], 4);
    return;
  }
  for (i = 0; i + 8 < n; i += 8) {
    w = lower8(load8(p + i));
    memcpy(to + i, &w, sizeof w);
  }
  w = lower8(load8(p + n - 8));
  memcpy(to + n - 8, &w, sizeof w);
}

static const pg_field *fields(pg_slot *s, uint32_t side, uint32_t lower,
                              int32_t *count)
{
  pg_view *v = pg_view_of(s, side);
  const pg_listed *e, *end;
  uint64_t bytes;
  pg_field *out, *f;
  pg_str blocks[2];
  char *to;
  *count = PG_E_MEMORY;
  if (!v)
    return NULL;
  pg_view_blocks(v, s, side, blocks);
  end = v->list[side].e + v->list[side].n;
  bytes = blocks[PG_FROM_HEAD].n;        /* each name has its place there */
  if (s->log_len)
    for (e = v->list[side].e; e < end; e++)
      bytes += e->name_n;
  if (!(out = pg_view_out(v, (uint64_t)v->list[side].n + 1)) ||
      !(to = pg_view_text(v, bytes + 1)))
    return NULL;
  for (e = v->list[side].e, f = out; e < end; e++) {
    if (e->gone)
      continue;
    f->value = pg_view_text_at(blocks[e->value_in], e->value, e->value_n);
    f->name = pg_view_text_at(blocks[e->name_in], e->name, e->name_n);
    if (lower) {
      lower_to(to, f->name.p, f->name.n);
      f->name.p = to;
      to += f->name.n;
    }
    f++;
  }
  *count = (int32_t)(f - out);
  return out;
}

static int listed(const char *name, uint32_t n, const char *const *list)
{
  for (; *list; list++)
    if (!pg_name_compare(name, n, *list))
      return 1;
  return 0;
}

/* Fields that nginx holds in one place: adding to them overwrites. */
static int single(uint32_t side, const char *name, uint32_t n)
{
  static const char *const request[] = {"host", "connection",
    "if-modified-since", "if-unmodified-since", "if-match", "if-none-match",
    "user-agent", "referer", "content-length", "content-type", "range",
    "if-range", "transfer-encoding", "expect", "upgrade", "accept-encoding",
    "via", "authorization", "keep-alive", "x-real-ip", "depth",
    "destination", "overwrite", "date", NULL};
  static const char *const response[] = {"server", "date",
    "content-encoding", "location", "refresh", "last-modified",
    "content-range", "accept-ranges", "expires", "e-tag", "etag",
    "content-length", "content-type", NULL};
  return listed(name, n, side == PG_SIDE_REQ ? request : response);
}

static int is_number(const char *p, uint32_t n)
{
  uint32_t i;
  for (i = 0; i < n; i++)
    if (p[i] < '0' || p[i] > '9')
      return 0;
  return n > 0 && n < 19;
}

/* What nginx takes for a host: see ngx_http_validate_host. */
static int is_host(const char *p, uint32_t n)
{
  uint32_t i;
  for (i = 0; i < n; i++)
    if (!p[i] || p[i] == '/' || (p[i] == '.' && i && p[i - 1] == '.'))
      return 0;
  return p[0] != ':' && !(n == 1 && p[0] == '.');
}

/* The name as it will be sent: bytes a name may not have are escaped, and in
   an answer underscores are dashes. */
static int prepare_name(const pg_slot *s, uint32_t side, const char *k,
                        uint32_t kn, pg_str *name)
{
  int dash = side == PG_SIDE_RESP && !(s->flags & PG_F_UNDERSCORES) &&
             memchr(k, '_', kn) != NULL;
  uint32_t i;
  pg_view *v;
  char *to;
  if (pg_escape(PG_ESCAPE_NAME, k, kn, name))
    return PG_E_MEMORY;
  if (!dash && name->p == k)
    return 0;
  v = pg_view_memory();
  to = v ? pg_view_names(v, (uint64_t)name->n + 1) : NULL;
  if (!to)
    return PG_E_MEMORY;
  for (i = 0; i < name->n; i++)
    to[i] = dash && name->p[i] == '_' ? '-' : name->p[i];
  name->p = to;
  return 0;
}

/* ngx.var.host follows the Host field: no port, lower case. */
static int follow_host(pg_slot *s, const pg_str *value)
{
  pg_str *host = &s->vars[PG_VAR_HOST];
  uint32_t n = value->n, i;
  const char *end = NULL;
  if (n && value->p[0] == '[')
    end = memchr(value->p, ']', n);
  if (end)
    n = (uint32_t)(end - value->p) + 1;
  else if ((end = memchr(value->p, ':', n)))
    n = (uint32_t)(end - value->p);
  if (n && value->p[n - 1] == '.')
    n--;
  if (pg_arena_put(s, host, value->p, n))
    return PG_E_MEMORY;
  for (i = 0; i < n; i++)
    ((char *)host->p)[i] = (char)pg_lower((unsigned char)host->p[i]);
  return 0;
}

/*
 * The rules of lua-nginx-module's setters. An empty value removes; an empty
 * value that is added makes an empty line in a request and none in an
 * answer; fields that exist once are overwritten by an addition.
 */
static int set_field(pg_slot *s, uint32_t side, uint32_t mode,
                     const char *k, uint32_t kn, const char *v, uint32_t vn)
{
  uint32_t base = side == PG_SIDE_REQ ? PG_EDIT_REQ_SET : PG_EDIT_RESP_SET;
  pg_str name, value = {"", 0};
  int host;
  if (mode > PG_FIELD_CLEAR || side > PG_SIDE_RESP)
    return PG_E_VALUE;
  if (prepare_name(s, side, k, kn, &name))
    return PG_E_MEMORY;
  if (mode == PG_FIELD_ADD && single(side, name.p, name.n))
    mode = PG_FIELD_SET;
  if (vn == 0 && mode == PG_FIELD_SET)
    mode = PG_FIELD_CLEAR;
  if (vn == 0 && mode == PG_FIELD_ADD && side == PG_SIDE_RESP)
    return 0;
  if (mode != PG_FIELD_CLEAR && pg_escape(PG_ESCAPE_VALUE, v, vn, &value))
    return PG_E_MEMORY;
  host = side == PG_SIDE_REQ && !pg_name_compare(name.p, name.n, "host");
  if (mode != PG_FIELD_CLEAR) {
    if (host && !is_host(value.p, value.n))
      return PG_E_VALUE;
    if (!pg_name_compare(name.p, name.n, "content-length") &&
        !is_number(value.p, value.n))
      return PG_E_VALUE;
  }
  if (host && pg_fill(s, PG_PART_REQUEST))
    return PG_E_MEMORY;
  if (pg_core()->edit(s, base + mode, 0, name.p, name.n, value.p, value.n))
    return PG_E_MEMORY;
  return host ? follow_host(s, &value) : 0;
}

int pg_set_text(pg_slot *s, uint32_t kind, uint32_t aux,
                const char *v, uint32_t vn)
{
  int var = kind == PG_EDIT_METHOD ? PG_VAR_METHOD
            : kind == PG_EDIT_URI  ? PG_VAR_URI
            : kind == PG_EDIT_ARGS ? PG_VAR_ARGS
                                   : -1;
  if (var < 0 && kind != PG_EDIT_BODY)
    return PG_E_VALUE;
  if (var >= 0 && pg_fill(s, PG_PART_REQUEST))
    return PG_E_MEMORY;
  if (pg_core()->edit(s, kind, aux, "", 0, v ? v : "", v ? vn : 0))
    return PG_E_MEMORY;
  if (var < 0)
    return pg_body_moved(s, NULL, 0);
  if (!v) {
    s->vars[var].p = NULL;
    s->vars[var].n = 0;
    return 0;
  }
  return pg_arena_put(s, &s->vars[var], v, vn);
}

static int raw_head(pg_slot *s, uint32_t without_line, pg_str *out)
{
  const char *nl;
  *out = s->vars[PG_VAR_RAW_HEAD];
  if (!out->p)
    *out = s->in[PG_IN_HEAD];
  if (!out->p) {
    out->p = "";
    out->n = 0;
  }
  if (without_line && (nl = memchr(out->p, '\n', out->n))) {
    out->n -= (uint32_t)(nl + 1 - out->p);
    out->p = nl + 1;
  }
  return 0;
}

/* Texts of the variables of one exchange, in bytes, dead ones counted. */
enum { ARENA_MAX = 16 << 20, EXTRA_MAX = 4096 };

/*
 * arena   | uri | args | host |   ...   | new value |      |
 *         ^ vars[0].p                    ^ at->p     ^ len  ^ cap
 *
 * Lua and Go append; nothing is freed before the exchange ends. Growth moves
 * the block, so every string that pointed into it is moved along; strings
 * that point elsewhere stay. Each string has its bytes to itself: a shorter
 * value is written over the old one.
 */
int pg_arena_grow(pg_slot *s, uint64_t need)
{
  uint64_t cap = s->arena_cap ? s->arena_cap : 1024;
  uintptr_t old = (uintptr_t)s->arena, len = s->arena_len;
  char *block = s->arena, *fresh;
  uint32_t i;
  if (need > ARENA_MAX)
    return PG_E_MEMORY;
  while (cap < need)
    cap *= 2;
  fresh = malloc(cap);
  if (!fresh)
    return PG_E_MEMORY;
  if (len)
    memcpy(fresh, block, len);
  for (i = 0; i < PG_VAR_COUNT + 2 * s->extra_n; i++) {
    pg_str *t = i < PG_VAR_COUNT ? &s->vars[i] : &s->extra[i - PG_VAR_COUNT];
    if (old && (uintptr_t)t->p >= old && (uintptr_t)t->p < old + s->arena_cap)
      t->p = fresh + ((uintptr_t)t->p - old);
  }
  s->arena = fresh;
  s->arena_cap = (uint32_t)cap;
  free(block);
  return 0;
}

int pg_extra_grow(pg_slot *s)
{
  uint32_t cap = s->extra_cap ? s->extra_cap * 2 : 8;
  pg_str *fresh;
  if (cap > EXTRA_MAX)
    return PG_E_MEMORY;
  fresh = realloc(s->extra, cap * 2 * sizeof *fresh);
  if (!fresh)
    return PG_E_MEMORY;
  s->extra = fresh;
  s->extra_cap = cap;
  return 0;
}

int pg_arena_put(pg_slot *s, pg_str *at, const char *p, uint32_t n)
{
  int inside = at->p && at->p >= s->arena && at->p < s->arena + s->arena_cap;
  char *to;
  if (inside && n <= at->n) {
    to = (char *)at->p;
  } else {
    /* +1: an empty string must not point one past the end, where
       pg_arena_grow would not know it */
    uint64_t need = (uint64_t)s->arena_len + n + 1;
    if (need > s->arena_cap && pg_arena_grow(s, need))
      return PG_E_MEMORY;
    to = s->arena + s->arena_len;
    s->arena_len = (uint32_t)need;
  }
  memmove(to, p, n);
  at->p = to;
  at->n = n;
  return 0;
}

const pg_request_api *pg_request(void)
{
  static const pg_request_api api = {
    .values = values,
    .fields = fields,
    .set_field = set_field,
    .fill = pg_fill,
    .get_var = pg_get_var,
    .set_var = pg_set_var,
    .set_text = pg_set_text,
    .body = pg_body,
    .body_file = pg_body_file,
    .raw_head = raw_head,
    .escape = pg_escape,
    .unescape = pg_unescape,
    .pairs = pg_pairs,
    .unsafe_byte = pg_unsafe_byte,
  };
  return &api;
}
