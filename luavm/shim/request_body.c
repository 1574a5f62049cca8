//go:build cgo && luajit

/*
 * request_body.c: where the request's body is.
 *
 *   read by the driver   in[PG_IN_BODY], or a file: vars[PG_VAR_BODY_FILE]
 *   set by the script    the last edit of it in the log, which wins
 *
 * A file that replaces another, or is replaced by a text, is removed by Lua if
 * it was temporary; what is left at the end of the exchange is removed by Go.
 */
#include "request.h"

#include <stdio.h>
#include <string.h>

/* 1: out is the body; 0: there is none, or it is in a file. */
int pg_body(pg_slot *s, pg_str *out)
{
  uint64_t at = 0;
  int found = -1;
  *out = s->in[PG_IN_BODY];
  while (at + sizeof(pg_edit) <= s->log_len) {
    pg_edit r;
    uint64_t need;
    memcpy(&r, s->log + at, sizeof r);
    need = sizeof r + (uint64_t)r.klen + r.vlen;
    if (at + need > s->log_len)
      break;
    if (r.kind == PG_EDIT_BODY && r.aux != PG_BODY_BEGUN) {
      out->p = s->log + at + sizeof r + r.klen;
      out->n = r.vlen;
      found = r.aux == PG_BODY_TEXT;
    }
    at += (need + 7) & ~(uint64_t)7;
  }
  if (found >= 0)
    return found;
  return (s->flags & PG_F_BODY_READ) && !(s->flags & PG_F_DISCARDED) &&
         out->p != NULL;
}

/* The variable that says which file the body is in; path NULL: none. */
int pg_body_moved(pg_slot *s, const char *path, uint32_t n)
{
  pg_str *at = &s->vars[PG_VAR_BODY_FILE];
  if (path)
    return pg_arena_put(s, at, path, n);
  at->p = NULL;
  at->n = 0;
  return 0;
}

int pg_body_file(pg_slot *s, uint32_t aux, const char *path, uint32_t n,
                 double size)
{
  char digits[32];
  int k = snprintf(digits, sizeof digits, "%.0f", size);
  if (aux == PG_BODY_TEXT || aux > PG_BODY_BEGUN)
    return PG_E_VALUE;
  if (pg_core()->edit(s, PG_EDIT_BODY, aux, digits, (uint32_t)k, path, n))
    return PG_E_MEMORY;
  return aux == PG_BODY_BEGUN ? 0 : pg_body_moved(s, path, n);
}
