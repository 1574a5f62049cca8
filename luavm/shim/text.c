//go:build cgo && luajit

/*
 * text.c: base64 and SQL quoting, and the table of text functions for Lua.
 * (Escaping of URIs and the pairs of a query are in request_text.c.)
 */
#include "text.h"

/* ---- base64, RFC 4648 ---- */

static const char plain[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static double base64(const char *s, uint32_t n, int32_t form, char *dst) {
  const char *digit = form == PG_BASE64_URL ? url : plain;
  const uint8_t *p = (const uint8_t *)s;
  char *to = dst;
  for (; n >= 3; p += 3, n -= 3) {
    uint32_t w = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
    *to++ = digit[w >> 18];
    *to++ = digit[w >> 12 & 63];
    *to++ = digit[w >> 6 & 63];
    *to++ = digit[w & 63];
  }
  if (n) {
    uint32_t w = (uint32_t)p[0] << 16 | (n == 2 ? (uint32_t)p[1] << 8 : 0);
    *to++ = digit[w >> 18];
    *to++ = digit[w >> 12 & 63];
    if (n == 2) *to++ = digit[w >> 6 & 63];
    if (form == PG_BASE64_PLAIN) {
      if (n == 1) *to++ = '=';
      *to++ = '=';
    }
  }
  return (double)(to - dst);
}

/* The value of a digit, or 64. */
static inline uint32_t value_of(uint8_t c, int32_t form) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26u;
  if (c >= '0' && c <= '9') return c - '0' + 52u;
  if (c == (form == PG_BASE64_URL ? '-' : '+')) return 62;
  if (c == (form == PG_BASE64_URL ? '_' : '/')) return 63;
  return 64;
}

/* nginx's tolerance (ngx_decode_base64): the text ends at the first '=',
   whatever follows; padding may be missing; bits beyond the last byte are
   dropped; but a single digit left over, or any other byte, is an error. */
static double unbase64(const char *s, uint32_t n, int32_t form, char *dst) {
  uint32_t w = 0, digits = 0;
  char *to = dst;
  for (uint32_t i = 0; i < n && s[i] != '='; i++) {
    uint32_t v = value_of((uint8_t)s[i], form);
    if (v == 64) return -1;
    w = w << 6 | v;
    if ((++digits & 3) == 0) {
      *to++ = (char)(w >> 16);
      *to++ = (char)(w >> 8);
      *to++ = (char)w;
    }
  }
  switch (digits & 3) {
  case 1: return -1;
  case 2: *to++ = (char)(w >> 4); break;
  case 3: *to++ = (char)(w >> 10); *to++ = (char)(w >> 2); break;
  }
  return (double)(to - dst);
}

/* ---- SQL ---- */

/* What follows the backslash for a byte that MySQL wants escaped, or 0. */
static inline char sql_escape(char c) {
  switch (c) {
  case '\0': return '0';
  case '\b': return 'b';
  case '\n': return 'n';
  case '\r': return 'r';
  case '\t': return 't';
  case 26: return 'Z';
  case '\\': case '\'': case '"': return c;
  default: return 0;
  }
}

static double quoted_len(const char *s, uint32_t n) {
  uint32_t hits = 0;
  for (uint32_t i = 0; i < n; i++) hits += sql_escape(s[i]) != 0;
  return 2.0 + n + hits;
}

static void quote_sql(const char *s, uint32_t n, char *dst) {
  *dst++ = '\'';
  for (uint32_t i = 0; i < n; i++) {
    char e = sql_escape(s[i]);
    if (e) *dst++ = '\\';
    *dst++ = e ? e : s[i];
  }
  *dst = '\'';
}

static const pg_text_api api = {
    .quoted_len = quoted_len,
    .quote_sql = quote_sql,
    .base64 = base64,
    .unbase64 = unbase64,
    .crc32 = pg_crc32,
    .md5 = pg_md5,
    .sha1 = pg_sha1,
    .hmac_sha1 = pg_hmac_sha1,
    .hex = pg_hex,
    .format_time = pg_format_time,
    .parse_http_time = pg_parse_http_time,
};

const pg_text_api *pg_text(void) { return &api; }
