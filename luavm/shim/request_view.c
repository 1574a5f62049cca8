//go:build cgo && luajit

/*
 * request_view.c: the fields of a head as a script must see them.
 *
 *   in[HEAD]  GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n      (lent, Go memory)
 *   log       [REQ_SET X=2][RESP_SET Y=3][REQ_ADD X=4]       (slot, C memory)
 *                                               ^ log_len
 *   list      Host -> head 23..24
 *             X    -> log 19..20        value replaced, place kept
 *             X    -> log 67..68        ^ log_seen == log_len
 *
 * A list is built at the first question of a resume and then only carried
 * on: each record is replayed once, so 100 reads among 100 writes cost 100
 * look-ups in a short array of hashes and not 100 scans of the head.
 *
 * There is one view per thread, not per slot: a VM runs one slot at a time
 * and mostly without another in between, so thousands of suspended slots
 * need no index of their own. Whoever comes next takes the view over; it
 * is bound to slot, generation and the lent addresses. pg_request_enter
 * drops the binding at each resume, so no answer outlives a loan.
 *
 * The watchdog may jump out of any instruction of this file (not out of the
 * C library). A half-made list must therefore never look whole: `built` and
 * `slot` are set last, and a buffer that is being replaced is unhooked
 * before realloc (a jump then loses memory instead of freeing it twice).
 */
#include "request.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* More fields than this in one head are refused by an error: answering
   "not there" for a field that is there would let a policy be passed by. */
#define MAX_FIELDS 16384

/* Text memory above this is given back after use. */
#define KEEP_TEXT (1u << 20)

/* the compiler keeps its order across this */
#define BARRIER() __asm__ volatile("" ::: "memory")

static __thread pg_view *mine;
static pthread_key_t ends;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void view_free(void *p)
{
  pg_view *v = p;
  free(v->list[0].e);
  free(v->list[1].e);
  free(v->out);
  free(v->names);
  free(v->text);
  free(v);
}

static void make_key(void)
{
  pthread_key_create(&ends, view_free);
}

pg_view *pg_view_memory(void)
{
  if (!mine) {
    pthread_once(&once, make_key);
    mine = calloc(1, sizeof *mine);
    if (mine)
      pthread_setspecific(ends, mine);
  }
  return mine;
}

void pg_request_enter(void)
{
  if (mine)
    mine->slot = NULL;
}

/* Makes *buf hold n items of that size; 0, or -1 with *buf still in use. */
static int hold(void **buf, uint32_t *cap, uint64_t n, size_t size)
{
  uint64_t want = *cap ? *cap : 64;
  void *old = *buf, *p;
  if (n <= *cap)
    return 0;
  while (want < n)
    want *= 2;
  if (want > UINT32_MAX / 2)
    return -1;
  *buf = NULL;
  BARRIER();
  p = realloc(old, want * size);
  if (!p) {
    *buf = old;
    return -1;
  }
  *buf = p;
  *cap = (uint32_t)want;
  return 0;
}

char *pg_view_text(pg_view *v, uint64_t n)
{
  if (v->text_cap > KEEP_TEXT && n <= KEEP_TEXT) {
    char *old = v->text;
    v->text = NULL;
    v->text_cap = 0;
    BARRIER();
    free(old);
  }
  return hold((void **)&v->text, &v->text_cap, n, 1) ? NULL : v->text;
}

char *pg_view_names(pg_view *v, uint64_t n)
{
  return hold((void **)&v->names, &v->names_cap, n, 1) ? NULL : v->names;
}

pg_field *pg_view_out(pg_view *v, uint64_t n)
{
  return hold((void **)&v->out, &v->out_cap, n, sizeof *v->out) ? NULL : v->out;
}

/* Four bytes of a name without case, dash for underscore if so wanted. */
static uint32_t four(const char *p, int how)
{
  uint32_t w;
  memcpy(&w, p, sizeof w);
  if (how == PG_NAME_DASHED) {
    unsigned char c[4];
    int i;
    memcpy(c, &w, sizeof c);
    for (i = 0; i < 4; i++)
      if (c[i] == '_')
        c[i] = '-';
    memcpy(&w, c, sizeof w);
  }
  return w | 0x20202020u;
}

/* Length and both ends: names that agree in these are compared in full, and
   a head has too few fields to make that dear. Names in a head are hashed as
   they are (PG_NAME_PLAIN), wanted ones as they compare. */
static uint32_t name_hash(const char *p, uint32_t n, int how)
{
  char part[4] = {0, 0, 0, 0};
  if (n >= 4)
    return (four(p, how) * 2654435761u ^ four(p + n - 4, how)) + n;
  memcpy(part, p, n);
  return four(part, how) * 2654435761u + n;
}

/* have: a name of the head; want: what the script asks for */
static int name_eq(const char *have, const char *want, uint32_t n, int how)
{
  uint32_t i;
  for (i = 0; i < n; i++) {
    unsigned char w = pg_lower((unsigned char)want[i]);
    if (how == PG_NAME_DASHED && w == '_')
      w = '-';
    if (pg_lower((unsigned char)have[i]) != w)
      return 0;
  }
  return 1;
}

pg_str pg_view_value(const pg_view *v, const pg_slot *s, uint32_t side,
                     const pg_listed *e)
{
  pg_str blocks[2];
  pg_view_blocks(v, s, side, blocks);
  return pg_view_text_at(blocks[e->value_in], e->value, e->value_n);
}

pg_str pg_view_name(const pg_view *v, const pg_slot *s, uint32_t side,
                    const pg_listed *e)
{
  pg_str blocks[2];
  pg_view_blocks(v, s, side, blocks);
  return pg_view_text_at(blocks[e->name_in], e->name, e->name_n);
}

static __attribute__((noinline)) int more(pg_list *l)
{
  return l->n >= MAX_FIELDS ||
         hold((void **)&l->e, &l->cap, (uint64_t)l->n + 1, sizeof *l->e);
}

/* A place that is not yet cleared; NULL: no memory, or too many. */
static inline pg_listed *append(pg_list *l)
{
  if (__builtin_expect(l->n >= l->cap, 0) && more(l))
    return NULL;
  return &l->e[l->n++];
}

/* Lines between two neighbours only: a script that sees an upstream's
   Connection would think that it speaks of the client's. */
static int hop_by_hop(const char *p, uint32_t n)
{
  switch (n) {
  case 10:
    return name_eq(p, "connection", n, 0) || name_eq(p, "keep-alive", n, 0);
  case 16:
    return name_eq(p, "proxy-connection", n, 0);
  case 17:
    return name_eq(p, "transfer-encoding", n, 0);
  }
  return 0;
}

static int blank(char c) { return c == ' ' || c == '\t'; }

/* One line without its end. */
static int add_line(pg_list *l, const char *head, const char *line,
                    const char *end, uint32_t side)
{
  const char *colon = memchr(line, ':', (size_t)(end - line)), *value;
  uint32_t name_n;
  pg_listed *e;
  if (!colon || colon == line)
    return 0;
  name_n = (uint32_t)(colon - line);
  value = colon + 1;
  while (value < end && blank(*value))
    value++;
  while (end > value && blank(end[-1]))
    end--;
  if (side == PG_SIDE_RESP && hop_by_hop(line, name_n))
    return 0;
  e = append(l);
  if (!e)
    return -1;
  *e = (pg_listed){
    .hash = name_hash(line, name_n, PG_NAME_PLAIN),
    .name = (uint32_t)(line - head), .name_n = name_n,
    .value = (uint32_t)(value - head), .value_n = (uint32_t)(end - value),
  };
  return 0;
}

/* The first line is no field; an empty one ends the head. */
static int parse(pg_list *l, pg_str head, uint32_t side)
{
  const char *end = head.p + head.n, *line;
  const char *nl = head.n ? memchr(head.p, '\n', head.n) : NULL;
  while (nl && (line = nl + 1) < end) {
    const char *stop;
    nl = memchr(line, '\n', (size_t)(end - line));
    stop = nl ? nl : end;
    if (stop > line && stop[-1] == '\r')
      stop--;
    if (stop == line)
      return 0;
    if (add_line(l, head.p, line, stop, side))
      return -1;
  }
  return 0;
}

int pg_view_next(const pg_view *v, uint32_t side, uint32_t i,
                 const char *name, uint32_t n, int how)
{
  const pg_list *l = &v->list[side];
  uint32_t h = name_hash(name, n, how);
  for (; i < l->n; i++) {
    const pg_listed *e = &l->e[i];
    if (e->hash != h || e->name_n != n || e->gone)
      continue;
    if (name_eq(pg_view_name(v, v->slot, side, e).p, name, n, how))
      return (int)i;
  }
  return -1;
}

/* nginx's rule for an overwritten field: the first line keeps its place and
   the letters of its name, the others go. */
static int replay_one(pg_view *v, const pg_slot *s, uint32_t side,
                      const pg_edit *r, uint32_t at)
{
  pg_list *l = &v->list[side];
  uint32_t mode = r->kind - (side == PG_SIDE_REQ ? PG_EDIT_REQ_SET
                                                 : PG_EDIT_RESP_SET);
  const char *k = s->log + at;
  pg_listed *e = NULL;
  int i = -1;
  if (mode != PG_FIELD_ADD) {
    while ((i = pg_view_next(v, side, (uint32_t)(i + 1), k, r->klen,
                             PG_NAME_PLAIN)) >= 0) {
      if (e || mode == PG_FIELD_CLEAR)
        l->e[i].gone = 1;
      else
        e = &l->e[i];
    }
    if (mode == PG_FIELD_CLEAR)
      return 0;
  }
  if (!e) {
    e = append(l);
    if (!e)
      return -1;
    *e = (pg_listed){
      .hash = name_hash(k, r->klen, PG_NAME_PLAIN),
      .name = at, .name_n = r->klen, .name_in = PG_FROM_LOG,
    };
  }
  e->value = at + r->klen;
  e->value_n = r->vlen;
  e->value_in = PG_FROM_LOG;
  return 0;
}

static int replay(pg_view *v, const pg_slot *s, uint32_t side)
{
  uint32_t lo = side == PG_SIDE_REQ ? PG_EDIT_REQ_SET : PG_EDIT_RESP_SET;
  pg_list *l = &v->list[side];
  while (l->log_seen < s->log_len) {
    pg_edit r;
    uint64_t left = s->log_len - l->log_seen, need;
    if (left < sizeof r)
      return 0;
    memcpy(&r, s->log + l->log_seen, sizeof r);
    need = sizeof r + (uint64_t)r.klen + r.vlen;
    if (need > left)
      return 0;
    if (r.kind >= lo && r.kind <= lo + PG_FIELD_CLEAR &&
        replay_one(v, s, side, &r, l->log_seen + (uint32_t)sizeof r))
      return -1;
    need = (need + 7) & ~(uint64_t)7;
    l->log_seen = need < left ? l->log_seen + (uint32_t)need : s->log_len;
  }
  return 0;
}

static int same(const pg_view *v, const pg_slot *s)
{
  const pg_str *h = &s->in[PG_IN_HEAD], *r = &s->in[PG_IN_RESP];
  return v->slot == s && v->gen == s->gen &&
         v->head[0].p == h->p && v->head[0].n == h->n &&
         v->head[1].p == r->p && v->head[1].n == r->n;
}

static void bind(pg_view *v, const pg_slot *s)
{
  int i;
  v->slot = NULL;
  BARRIER();
  for (i = 0; i < 2; i++) {
    v->list[i].n = 0;
    v->list[i].log_seen = 0;
    v->list[i].built = 0;
  }
  v->gen = s->gen;
  v->head[PG_SIDE_REQ] = s->in[PG_IN_HEAD];
  v->head[PG_SIDE_RESP] = s->in[PG_IN_RESP];
  for (i = 0; i < 2; i++)
    if (!v->head[i].p)
      v->head[i].n = 0;
  BARRIER();
  v->slot = s;
}

pg_view *pg_view_of(const pg_slot *s, uint32_t side)
{
  pg_view *v = pg_view_memory();
  pg_list *l;
  if (!v || side > PG_SIDE_RESP)
    return NULL;
  l = &v->list[side];
  if (!same(v, s) || l->log_seen > s->log_len)
    bind(v, s);
  if (!l->built) {
    l->n = 0;
    l->log_seen = 0;
    if (parse(l, v->head[side], side))
      return NULL;
    BARRIER();
    l->built = 1;
  }
  if (l->log_seen < s->log_len && replay(v, s, side)) {
    l->built = 0;
    return NULL;
  }
  return v;
}
