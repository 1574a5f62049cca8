//go:build cgo && luajit

/*
 * request_text.c: escaping and the pairs of a query.
 *
 * Which bytes a set escapes is what OpenResty's ngx.escape_uri and header
 * setters escape (lua-nginx-module, ngx_http_lua_escape_uri), spelled here
 * as "these and the control characters" instead of bit masks.
 */
#include "request.h"

#include <string.h>

enum { CTL = 1, TAB = 2, HIGH = 4, NOT_DEL = 8 };

static const struct { const char *also; int rule; } rules[] = {
  [PG_ESCAPE_URI] = {" #%?", CTL | TAB | HIGH},
  [PG_ESCAPE_ARGS] = {" #%+?", CTL | TAB | HIGH},
  [PG_ESCAPE_COMPONENT] = {" \"#$%&+,/:;<=>?@[\\]^`{|}", CTL | TAB | HIGH},
  [PG_ESCAPE_HTML] = {" \"#%'", CTL | TAB | HIGH},
  [PG_ESCAPE_REFRESH] = {" \"'", CTL | TAB | HIGH},
  [PG_ESCAPE_MEMCACHED] = {" %", CTL | TAB | NOT_DEL},
  [PG_ESCAPE_MAIL] = {" %", CTL | TAB | NOT_DEL},
  [PG_ESCAPE_NAME] = {" \"(),/:;<=>?@[\\]`{}", CTL | TAB | HIGH},
  [PG_ESCAPE_VALUE] = {"", CTL},
  [PG_ESCAPE_QUERY] = {" ", CTL | TAB},
  [PG_ESCAPE_LOG] = {"\"\\", CTL | TAB | HIGH},
};

enum { SETS = sizeof rules / sizeof rules[0] };

/* one bit per set, for each byte; filled before main */
static uint16_t escaped[256];

__attribute__((constructor)) static void fill(void)
{
  int set, c;
  for (set = 0; set < SETS; set++)
    for (c = 0; c < 256; c++) {
      int rule = rules[set].rule;
      int hit = c < 32 ? (c != '\t' || rule & TAB)
                : c == 127 ? !(rule & NOT_DEL)
                : c > 127 ? (rule & HIGH) != 0
                          : strchr(rules[set].also, c) != NULL;
      if (hit)
        escaped[c] |= (uint16_t)(1 << set);
    }
}

int pg_unsafe_byte(const char *p, uint32_t n)
{
  uint32_t i;
  for (i = 0; i < n; i++)
    if (escaped[(unsigned char)p[i]] & (1 << PG_ESCAPE_VALUE))
      return (int)i;
  return -1;
}

/* The sets that would escape one of the bytes: none, of almost all texts. */
static uint32_t sets_of(const char *text, uint32_t n)
{
  const unsigned char *p = (const unsigned char *)text, *end = p + n;
  uint32_t sets = 0;
  for (; end - p >= 4; p += 4)
    sets |= escaped[p[0]] | escaped[p[1]] | escaped[p[2]] | escaped[p[3]];
  for (; p < end; p++)
    sets |= escaped[*p];
  return sets;
}

static __attribute__((noinline))
int escape(uint32_t set, const char *p, uint32_t n, pg_str *out)
{
  static const char hex[] = "0123456789ABCDEF";
  uint32_t i, hits = 0, wide = set == PG_ESCAPE_LOG ? 4 : 3;
  pg_view *v = pg_view_memory();
  char *to;
  for (i = 0; i < n; i++)
    hits += escaped[(unsigned char)p[i]] >> set & 1;
  to = v ? pg_view_text(v, (uint64_t)n + (uint64_t)hits * (wide - 1)) : NULL;
  if (!to)
    return PG_E_MEMORY;
  out->p = to;
  out->n = n + hits * (wide - 1);
  for (i = 0; i < n; i++) {
    unsigned char c = (unsigned char)p[i];
    if (!(escaped[c] >> set & 1)) {
      *to++ = (char)c;
      continue;
    }
    *to++ = wide == 4 ? '\\' : '%';
    if (wide == 4)
      *to++ = 'x';
    *to++ = hex[c >> 4];
    *to++ = hex[c & 15];
  }
  return 0;
}

int pg_escape(uint32_t set, const char *p, uint32_t n, pg_str *out)
{
  if (set >= SETS)
    return PG_E_VALUE;
  out->p = p;
  out->n = n;
  return sets_of(p, n) >> set & 1 ? escape(set, p, n, out) : 0;
}

static int hex_digit(unsigned char c)
{
  if (c >= '0' && c <= '9')
    return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Plus is a space, %XX a byte, any other % stays. Returns the end; to may be
   where p is. */
static char *unescape(char *to, const char *p, const char *end)
{
  while (p < end) {
    unsigned char c = (unsigned char)*p++;
    if (c == '+')
      c = ' ';
    else if (c == '%' && end - p >= 2) {
      int hi = hex_digit((unsigned char)p[0]);
      int lo = hex_digit((unsigned char)p[1]);
      if (hi >= 0 && lo >= 0) {
        c = (unsigned char)(hi << 4 | lo);
        p += 2;
      }
    }
    *to++ = (char)c;
  }
  return to;
}

int pg_unescape(const char *p, uint32_t n, pg_str *out)
{
  pg_view *v;
  char *to;
  out->p = p;
  out->n = n;
  if (!n || (!memchr(p, '%', n) && !memchr(p, '+', n)))
    return 0;
  v = pg_view_memory();
  to = v ? pg_view_text(v, n) : NULL;
  if (!to)
    return PG_E_MEMORY;
  out->p = to;
  out->n = (uint32_t)(unescape(to, p, p + n) - to);
  return 0;
}

static uint32_t most_pairs(const char *p, uint32_t n)
{
  uint32_t pairs = n ? 1 : 0;
  const char *end = p + n;
  while (n && (p = memchr(p, '&', (size_t)(end - p)))) {
    pairs++;
    if (++p == end)
      break;
  }
  return pairs;
}

/*
 * OpenResty has two ways of counting against max. ngx.req.get_uri_args
 * compares the ampersands beforehand and then stops at max kept pairs;
 * decode_args and get_post_args count every pair that ends in an ampersand,
 * kept or not, and stop when the count is reached.
 */
const pg_field *pg_pairs(const char *p, uint32_t n, int32_t max,
                        uint32_t each, int32_t *count)
{
  pg_view *v = pg_view_memory();
  uint32_t room = most_pairs(p, n), kept = 0;
  const char *end = p + n;
  int32_t seen = 0;
  pg_field *out;
  char *to;
  count[0] = count[1] = 0;
  if (!v || !(to = pg_view_text(v, (uint64_t)n + 1)) ||
      !(out = pg_view_out(v, (uint64_t)room + 1))) {
    count[0] = PG_E_MEMORY;
    return NULL;
  }
  if (!each && max > 0 && room > (uint32_t)max) {
    room = (uint32_t)max;
    count[1] = 1;
  }
  while (p < end && kept < room) {
    const char *amp = memchr(p, '&', (size_t)(end - p));
    const char *stop = amp ? amp : end;
    const char *eq = memchr(p, '=', (size_t)(stop - p));
    pg_field *f = &out[kept];
    f->name.p = to;
    to = unescape(to, p, eq ? eq : stop);
    f->name.n = (uint32_t)(to - f->name.p);
    f->value.p = NULL;
    f->value.n = 0;
    if (eq) {
      f->value.p = to;
      to = unescape(to, eq + 1, stop);
      f->value.n = (uint32_t)(to - f->value.p);
    }
    kept += f->name.n > 0;
    if (amp && each && max > 0 && ++seen == max) {
      count[1] = 1;
      break;
    }
    p = amp ? amp + 1 : end;
  }
  count[0] = (int32_t)kept;
  return out;
}
