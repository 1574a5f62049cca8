//go:build cgo && luajit

/*
 * What was received, and the patterns that take it apart.
 *
 *   buf                                                          cap
 *    |  given out  |      the result so far      |  not seen  |  room  |
 *    0            pos                        pos+seen        fill
 *
 * A reader (line, bytes, until, ...) looks at what is there. It answers
 * PG_GOT: sock->got is the result and has been taken off; or PG_WANT: more
 * must be read to fill, then it is asked again and goes on at seen. When
 * reading fails, the rest functions give out what the reader had so far.
 *
 * got points into buf: it is valid until the next reader or room.
 */
#include "socket.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM_MAX = 1 << 20, BUFFER_MAX = 1 << 30 };

static int32_t give(pg_sock *s, uint32_t n, uint32_t skip) {
  s->got.p = s->buf + s->pos;
  s->got.n = n;
  s->pos += n + skip;
  s->seen = 0;
  return PG_GOT;
}

/*
 * Memory for at least one byte behind fill, and up to want when that is known.
 * It grows with what really comes, so an absurd want costs nothing at first.
 */
int32_t pg_sock_room(pg_sock *s, uint32_t want) {
  const pg_state *v = ((pg_socket *)s)->v;
  uint64_t max = v->limit && v->limit < BUFFER_MAX ? v->limit : BUFFER_MAX;
  uint32_t have = s->fill - s->pos;
  uint64_t size = s->cap ? s->cap : s->least;
  char *p;
  if (s->pos == s->fill) s->pos = s->fill = 0;
  if (want > ROOM_MAX) want = ROOM_MAX;
  if (want < 1) want = 1;
  if (s->buf && s->cap - s->fill >= want) return 0;
  if (s->pos && s->cap - have >= want && s->cap - have >= s->cap / 2) {
    memmove(s->buf, s->buf + s->pos, have);
    s->pos = 0;
    s->fill = have;
    return 0;
  }
  while (size - have < want || size == have) size *= 2;
  if (size > max) size = max;
  if (size <= have) return PG_E_MEMORY;
  p = malloc(size);
  if (!p) return PG_E_MEMORY;
  if (have) memcpy(p, s->buf + s->pos, have);
  free(s->buf);
  s->buf = p;
  s->cap = (uint32_t)size;
  s->pos = 0;
  s->fill = have;
  return 0;
}

/* Removes each CR of the n bytes at p: how many are left. */
static uint32_t without_cr(char *p, uint32_t n) {
  char *r = memchr(p, '\r', n), *w = r, *end = p + n;
  if (!r) return n;
  for (; r < end; r++)
    if (*r != '\r') *w++ = *r;
  return (uint32_t)(w - p);
}

/* Up to LF; no CR is part of a line, wherever it stands. */
int32_t pg_sock_line(pg_sock *s) {
  char *from = s->buf + s->pos;
  uint32_t have = s->fill - s->pos, n, left;
  const char *lf;
  s->reader = 0;
  if (have == s->seen) return PG_WANT;
  lf = memchr(from + s->seen, '\n', have - s->seen);
  if (!lf) { s->seen = have; return PG_WANT; }
  n = (uint32_t)(lf - from);
  left = without_cr(from, n);
  return give(s, left, n - left + 1);
}

int32_t pg_sock_bytes(pg_sock *s, uint32_t n) {
  s->reader = 0;
  if (s->fill - s->pos < n) return PG_WANT;
  return give(s, n, 0);
}

int32_t pg_sock_any(pg_sock *s, uint32_t max) {
  uint32_t have = s->fill - s->pos;
  s->reader = 0;
  if (!have) return PG_WANT;
  return give(s, have < max ? have : max, 0);
}

/* All that is there: a reader's result where reading failed. */
int32_t pg_sock_rest(pg_sock *s, int32_t as_line) {
  uint32_t have = s->fill - s->pos, n = have;
  if (as_line && have) n = without_cr(s->buf + s->pos, have);
  return give(s, n, have - n);
}

/*
 * receiveuntil's pattern: Knuth-Morris-Pratt with OpenResty's counting.
 *
 *   buf[pos ..           pos+out)    the result so far
 *   buf[pos+out .. pos+out+state)    equals the first bytes of the pattern
 *
 * With a size, a call ends once that many bytes are certain not to be of the
 * pattern; what had looked like its beginning comes out as a whole, so a piece
 * can be longer than the size.
 */
struct pg_pattern {
  uint32_t id;               /* never 0; a socket knows its reader by it */
  uint32_t n;
  uint32_t inclusive;        /* the pattern is part of the result */
  uint32_t out;
  int32_t state;             /* bytes that match; -1: the end was reported */
  uint32_t next[];           /* next[i]: longest border of the first i bytes;
                                then the n bytes of the pattern */
};

uint32_t pg_pattern_size(uint32_t n) {
  return (uint32_t)sizeof(pg_pattern) + (n + 1) * (uint32_t)sizeof(uint32_t) + n;
}

static const char *text_of(const pg_pattern *p) {
  return (const char *)(p->next + p->n + 1);
}

/* p: pg_pattern_size(n) bytes that the caller owns. n is at least 1. */
void pg_pattern_make(pg_pattern *p, const char *text, uint32_t n,
                     uint32_t inclusive) {
  static uint32_t last;
  uint32_t i, k = 0;
  do p->id = __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED); while (!p->id);
  p->n = n;
  p->inclusive = inclusive;
  p->state = 0;
  p->out = 0;
  memcpy(p->next + n + 1, text, n);
  p->next[0] = p->next[1] = 0;
  for (i = 1; i < n; i++) {
    while (k && text[i] != text[k]) k = p->next[k];
    if (text[i] == text[k]) k++;
    p->next[i + 1] = k;
  }
}

/* The longest shorter match that c continues; 0: none but the empty one. */
static uint32_t fall_back(const pg_pattern *p, uint32_t state, char c) {
  const char *text = text_of(p);
  uint32_t k = p->next[state];
  while (k && text[k] != c) k = p->next[k];
  return k;
}

static int32_t piece(pg_sock *s, pg_pattern *p, uint32_t state) {
  uint32_t out = p->out;
  p->out = 0;
  p->state = (int32_t)state;
  give(s, out, 0);
  s->seen = state;
  return PG_GOT;
}

/* size 0: no bound. PG_ENDED: the pattern was found by the call before. */
int32_t pg_sock_until(pg_sock *s, pg_pattern *p, uint32_t size) {
  const char *text = text_of(p);
  uint32_t have = s->fill - s->pos, i, state, k;
  const char *from = s->buf + s->pos;
  if (p->state < 0) { p->state = 0; return PG_ENDED; }
  if (s->reader != p->id) {  /* somebody else read since: begin anew */
    s->reader = p->id;
    s->seen = 0;
    p->state = 0;
    p->out = 0;
  }
  state = (uint32_t)p->state;
  for (i = s->seen; i < have;) {
    char c = from[i];
    if (c == text[state]) {
      i++;
      if (++state < p->n) continue;
      k = p->inclusive ? i : p->out;
      p->out = 0;
      p->state = size ? -1 : 0;
      return give(s, k, i - k);
    }
    if (!state) {
      i++;
      p->out++;
      if (size && p->out >= size) return piece(s, p, 0);
      if (!size) {           /* nothing to count: on to the next beginning */
        const char *q = memchr(from + i, text[0], have - i);
        k = q ? (uint32_t)(q - from) : have;
        p->out += k - i;
        i = k;
      }
      continue;
    }
    k = fall_back(p, state, c);
    if (!k) {                /* c is looked at again, with no match */
      p->out += state;
      state = 0;
      if (size && p->out >= size) return piece(s, p, 0);
      continue;
    }
    p->out += state - k;
    state = k + 1;
    i++;
    if (size && p->out >= size) return piece(s, p, state);
  }
  s->seen = have;
  p->state = (int32_t)state;
  return PG_WANT;
}

/* What is certain of the result, where reading failed. */
int32_t pg_sock_until_rest(pg_sock *s, pg_pattern *p) {
  return piece(s, p, p->state > 0 ? (uint32_t)p->state : 0);
}
