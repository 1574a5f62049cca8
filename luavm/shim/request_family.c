//go:build cgo && luajit

/*
 * request_family.c: the families of variables: http_*, sent_http_*, arg_*,
 * cookie_*. The family's prefix is cut off before.
 */
#include "request.h"

#include <string.h>

/* Fields that nginx keeps once: the first line is the value. */
static int keeps_first(const char *name, uint32_t n)
{
  static const char *const names[] = {"host", "user_agent", "referer",
    "content_type", "content_length", "authorization", "location",
    "last_modified"};
  size_t i;
  for (i = 0; i < sizeof names / sizeof names[0]; i++)
    if (!pg_name_compare(name, n, names[i]))
      return 1;
  return 0;
}

/* Lines of one name make one value, as nginx does since 1.23. An underscore
   in the wanted name stands for a dash. */
int pg_var_field(const pg_slot *s, uint32_t side, const char *name,
                 uint32_t n, pg_str *out)
{
  pg_view *v = pg_view_of(s, side);
  const char *between = side == PG_SIDE_REQ && !pg_name_compare(name, n, "cookie")
                            ? "; " : ", ";
  const pg_list *l;
  uint64_t total = 0;
  char *to;
  int first, i;
  if (!v)
    return PG_E_MEMORY;
  l = &v->list[side];
  first = pg_view_next(v, side, 0, name, n, PG_NAME_DASHED);
  if (first < 0)
    return 0;
  *out = pg_view_value(v, s, side, &l->e[first]);
  i = pg_view_next(v, side, (uint32_t)first + 1, name, n, PG_NAME_DASHED);
  if (i < 0 || keeps_first(name, n))
    return 1;
  for (i = first; i >= 0;
       i = pg_view_next(v, side, (uint32_t)i + 1, name, n, PG_NAME_DASHED))
    total += (uint64_t)l->e[i].value_n + 2;
  to = pg_view_text(v, total);
  if (!to)
    return PG_E_MEMORY;
  out->p = to;
  for (i = first; i >= 0;
       i = pg_view_next(v, side, (uint32_t)i + 1, name, n, PG_NAME_DASHED)) {
    pg_str part = pg_view_value(v, s, side, &l->e[i]);
    if (i != first) {
      *to++ = between[0];
      *to++ = between[1];
    }
    memcpy(to, part.p, part.n);
    to += part.n;
  }
  out->n = (uint32_t)(to - out->p);
  return 1;
}

/* The first NAME= of the query, as it came. */
int pg_var_arg(pg_slot *s, const char *name, uint32_t n, pg_str *out)
{
  const pg_str *q = &s->vars[PG_VAR_ARGS];
  const char *p, *end;
  if (pg_fill(s, PG_PART_REQUEST))
    return PG_E_MEMORY;
  p = q->p;
  end = p ? p + q->n : NULL;
  while (n && p && p < end) {
    const char *amp = memchr(p, '&', (size_t)(end - p));
    const char *stop = amp ? amp : end;
    if ((size_t)(stop - p) > n && p[n] == '=' && pg_same_text(p, name, n))
      return pg_given(out, p + n + 1, (uint32_t)(stop - p) - n - 1);
    p = amp ? amp + 1 : end;
  }
  return 0;
}

static const char *skip_spaces(const char *p, const char *end)
{
  while (p < end && *p == ' ')
    p++;
  return p;
}

/* nginx's reading: pairs end at ; or , but a value ends at ; only. */
static int cookie_in(pg_str line, const char *name, uint32_t n, pg_str *out)
{
  const char *p = line.p, *end = line.p + line.n;
  while (p < end) {
    if ((size_t)(end - p) > n && pg_same_text(p, name, n)) {
      const char *at = skip_spaces(p + n, end);
      if (at < end && *at == '=') {
        const char *stop;
        at = skip_spaces(at + 1, end);
        stop = memchr(at, ';', (size_t)(end - at));
        return pg_given(out, at, (uint32_t)((stop ? stop : end) - at));
      }
    }
    while (p < end && *p != ';' && *p != ',')
      p++;
    p = skip_spaces(p < end ? p + 1 : p, end);
  }
  return 0;
}

int pg_var_cookie(const pg_slot *s, const char *name, uint32_t n, pg_str *out)
{
  pg_view *v = pg_view_of(s, PG_SIDE_REQ);
  int i = -1;
  if (!v)
    return PG_E_MEMORY;
  while (n && (i = pg_view_next(v, PG_SIDE_REQ, (uint32_t)(i + 1), "cookie", 6,
                                PG_NAME_PLAIN)) >= 0) {
    pg_str line = pg_view_value(v, s, PG_SIDE_REQ,
                                &v->list[PG_SIDE_REQ].e[i]);
    if (cookie_in(line, name, n, out))
      return 1;
  }
  return 0;
}
