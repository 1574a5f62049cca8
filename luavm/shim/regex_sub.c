//go:build cgo && luajit

/*
 * regex_sub.c: ngx.re.sub and gsub with a text to put in, whole in C: one call
 * from Lua however many matches there are.
 *
 *   text      "<$1> ${2}$$"
 *   pieces    "<"  group 1  "> "  group 2  "$"
 *   subject   ....[match]....[match]....
 *   out       ....<pieces>....<pieces>....
 *
 * The pieces are read from the text at each call. That costs less than a
 * table look-up for the short texts it is used with, and there is nothing to
 * keep or to free.
 */
#include "regex.h"

#include <string.h>

enum { PIECES = 32, KEEP_OUT = 64 << 10 };

typedef struct piece {
  const char *p;             /* a text, or NULL: a group */
  uint32_t n;                /* bytes, or the group's number */
} piece;

typedef struct pieces {
  piece few[PIECES];
  piece *at;
  uint32_t n;
} pieces;

/* ---- reading the text ---- */

static int is_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
         (c >= 'a' && c <= 'z') || c == '_';
}

static int is_digit(char c) { return c >= '0' && c <= '9'; }

/*
 * What stands behind a dollar; p is moved behind it. 0, or a PG_REGEX_* with
 * the part at fault in out. A number too large for any group means one that is
 * never there, not another one.
 */
static int32_t read_variable(const char **p, const char *end, piece *to,
                             pg_regex_out *out) {
  const char *name = *p;
  uint32_t n = 0;
  int open;
  if (name == end) return PG_REGEX_BAD_VARIABLE;
  if (*name == '$') {
    *to = (piece){ name, 1 };
    *p = name + 1;
    return 0;
  }
  open = *name == '{';
  name += open;
  if (name == end) return PG_REGEX_BAD_VARIABLE;
  const char *q = name;
  int number = is_digit(*q);
  while (q < end && (number ? is_digit(*q) : is_word(*q))) {
    if (number && n < 1u << 24) n = n * 10 + (uint32_t)(*q - '0');
    q++;
  }
  out->p = name;
  out->n = (uint32_t)(q - name);
  if (open && (q == end || *q != '}')) return PG_REGEX_OPEN_BRACKET;
  if (!number)
    return q == name ? PG_REGEX_BAD_VARIABLE : PG_REGEX_NAMED_VARIABLE;
  *to = (piece){ NULL, n };
  *p = q + open;
  return 0;
}

static int32_t read_pieces(const char *t, uint32_t tn, pieces *list,
                           pg_regex_out *out) {
  const char *end = t + tn;
  while (t < end) {
    piece *to = &list->at[list->n++];
    if (*t == '$') {
      t++;
      int32_t bad = read_variable(&t, end, to, out);
      if (bad) return bad;
      continue;
    }
    const char *q = memchr(t, '$', (size_t)(end - t));
    if (!q) q = end;
    *to = (piece){ t, (uint32_t)(q - t) };
    t = q;
  }
  return 0;
}

static uint32_t most_pieces(const char *t, uint32_t tn) {
  uint32_t n = 1;
  for (uint32_t i = 0; i < tn; i++) n += 2 * (t[i] == '$');
  return n;
}

/* ---- writing ---- */

void pg_regex_shrink(pg_matcher *m) {
  if (m->out_cap <= KEEP_OUT) return;
  pg_regex_free(m->v, m->out);
  m->out = NULL;
  m->out_cap = 0;
}

static int append(pg_matcher *m, pg_regex_out *out, const char *p, uint32_t n) {
  uint64_t need = (uint64_t)out->n + n, cap;
  char *grown;
  if (need > m->out_cap) {
    cap = m->out_cap ? m->out_cap : 512;
    while (cap < need) cap *= 2;
    if (cap > INT32_MAX) return -1;
    grown = pg_regex_alloc(m->v, cap);
    if (!grown) return -1;
    if (out->n) memcpy(grown, m->out, out->n);
    pg_regex_free(m->v, m->out);
    m->out = grown;
    m->out_cap = (uint32_t)cap;
  }
  if (n) memcpy(m->out + out->n, p, n);
  out->n = (uint32_t)need;
  return 0;
}

static int append_pieces(pg_pattern *r, const char *s, const pieces *list,
                         pg_regex_out *out) {
  for (uint32_t i = 0; i < list->n; i++) {
    const piece *one = &list->at[i];
    const char *p = one->p;
    uint32_t n = one->n;
    if (!p) {
      if (n > (uint32_t)r->pub.ncaptures) continue;
      int32_t from = r->captures[2 * n], to = r->captures[2 * n + 1];
      if (from < 0 || to <= from) continue;
      p = s + from;
      n = (uint32_t)(to - from);
    }
    if (append(r->v->matcher, out, p, n)) return -1;
  }
  return 0;
}

/* The loop of all matches, or of the first; what is behind the last match is
   left to the caller, from the offset that is returned, or an error < 0. */
static int32_t replace(pg_pattern *r, const char *s, uint32_t n,
                       const pieces *list, uint32_t all, pg_regex_out *out) {
  uint32_t pos = 0, done = 0;
  do {
    int32_t rc = pg_regex_run(r, s, n, pos);
    if (rc == PG_REGEX_NOMATCH) break;
    if (rc < 0) return rc;
    if (r->v->hooked) return PG_REGEX_STOPPED;
    uint32_t from = (uint32_t)r->captures[0], to = (uint32_t)r->captures[1];
    out->count++;
    /* a \K in a lookbehind can set the start in front of what is done */
    if (from > done && append(r->v->matcher, out, s + done, from - done))
      return PG_REGEX_MEMORY;
    if (append_pieces(r, s, list, out)) return PG_REGEX_MEMORY;
    if (to > done) done = to;
    pos = from < to && to > pos ? to : pg_regex_step(r, s, n, to);
  } while (all && pos <= n);
  return (int32_t)done;
}

int32_t pg_regex_sub(pg_regex *re, const char *s, uint32_t n, const char *t,
                     uint32_t tn, uint32_t all, pg_regex_out *out) {
  pg_pattern *r = (pg_pattern *)re;
  pg_matcher *m = r->v->matcher;
  pieces list;
  uint32_t most = most_pieces(t, tn);
  int32_t rc;
  out->p = NULL;
  out->n = out->count = 0;
  list.n = 0;
  list.at = list.few;
  if (most > PIECES) {
    list.at = pg_regex_alloc(m->v, most * sizeof *list.at);
    if (!list.at) return PG_REGEX_MEMORY;
  }
  rc = read_pieces(t, tn, &list, out);
  if (!rc) {
    out->n = 0;
    pg_regex_shrink(m);
    rc = replace(r, s, n, &list, all, out);
  }
  if (rc >= 0 && out->count) {
    if (append(m, out, s + rc, n - (uint32_t)rc)) rc = PG_REGEX_MEMORY;
    out->p = m->out;
  }
  if (rc < 0) pg_regex_shrink(m);
  if (list.at != list.few) pg_regex_free(m->v, list.at);
  return rc < 0 ? rc : 0;
}
