//go:build cgo && luajit

/*
 * nginx_core.c: text and time functions under the names they have in nginx
 * and in OpenResty's module, for libraries that call them over ffi.C:
 *
 *   lua-resty-string    ffi.C.ngx_hex_dump -----.
 *   murmurhash, base64  ffi.C.ngx_... ----------+--> dlsym in the program
 *   own code            ffi.C.ngx_http_lua_ffi_ '    (linked with -rdynamic)
 *
 * Declarations for ffi.cdef are in lualib/ngx/symbols.lua and must agree.
 * What takes a request is in nginx_request.c.
 */
#include "nginx.h"
#include "request.h"
#include "text.h"

#include <string.h>

/* ---- nginx itself ---- */

/* Returns the end of what was written, 2 * n bytes. */
u_char *ngx_hex_dump(u_char *dst, u_char *src, size_t n) {
  pg_hex((const char *)src, (uint32_t)n, (char *)dst);
  return dst + 2 * n;
}

/* A number of decimal digits alone, or NGX_ERROR. */
intptr_t ngx_atoi(u_char *p, size_t n) {
  intptr_t value = 0;
  if (!n) return NGX_ERROR;
  for (; n; p++, n--)
    if (*p < '0' || *p > '9' ||
        __builtin_mul_overflow(value, 10, &value) ||
        __builtin_add_overflow(value, *p - '0', &value))
      return NGX_ERROR;
  return value;
}

uint32_t ngx_murmur_hash2(u_char *p, size_t n) {
  const uint32_t m = 0x5bd1e995;
  uint32_t h = (uint32_t)n;
  for (; n >= 4; p += 4, n -= 4) {
    uint32_t k = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
                 (uint32_t)p[3] << 24;
    k *= m;
    k ^= k >> 24;
    h = h * m ^ k * m;
  }
  if (n > 2) h ^= (uint32_t)p[2] << 16;
  if (n > 1) h ^= (uint32_t)p[1] << 8;
  if (n > 0) h = (h ^ p[0]) * m;
  h ^= h >> 13;
  h *= m;
  return h ^ h >> 15;
}

static void encode(ngx_str_t *dst, const ngx_str_t *src, int form) {
  dst->len = (size_t)pg_text()->base64((const char *)src->data,
                                       (uint32_t)src->len, form,
                                       (char *)dst->data);
}

static intptr_t decode(ngx_str_t *dst, const ngx_str_t *src, int form) {
  double n = pg_text()->unbase64((const char *)src->data, (uint32_t)src->len,
                                 form, (char *)dst->data);
  if (n < 0) return NGX_ERROR;
  dst->len = (size_t)n;
  return NGX_OK;
}

void ngx_encode_base64(ngx_str_t *dst, ngx_str_t *src) {
  encode(dst, src, PG_BASE64_PLAIN);
}

void ngx_encode_base64url(ngx_str_t *dst, ngx_str_t *src) {
  encode(dst, src, PG_BASE64_URL);
}

intptr_t ngx_decode_base64(ngx_str_t *dst, ngx_str_t *src) {
  return decode(dst, src, PG_BASE64_PLAIN);
}

intptr_t ngx_decode_base64url(ngx_str_t *dst, ngx_str_t *src) {
  return decode(dst, src, PG_BASE64_URL);
}

/* ---- digests ---- */

void ngx_http_lua_ffi_md5_bin(const u_char *src, size_t n, u_char *dst) {
  pg_md5((const char *)src, (uint32_t)n, (char *)dst);
}

void ngx_http_lua_ffi_md5(const u_char *src, size_t n, u_char *dst) {
  char sum[16];
  pg_md5((const char *)src, (uint32_t)n, sum);
  pg_hex(sum, sizeof sum, (char *)dst);
}

int ngx_http_lua_ffi_sha1_bin(const u_char *src, size_t n, u_char *dst) {
  pg_sha1((const char *)src, (uint32_t)n, (char *)dst);
  return 1;
}

unsigned int ngx_http_lua_ffi_crc32_short(const u_char *src, size_t n) {
  return pg_crc32((const char *)src, (uint32_t)n);
}

unsigned int ngx_http_lua_ffi_crc32_long(const u_char *src, size_t n) {
  return pg_crc32((const char *)src, (uint32_t)n);
}

/* ---- base64 and URIs ---- */

size_t ngx_http_lua_ffi_encode_base64(const u_char *src, size_t n,
                                      u_char *dst, int no_padding) {
  return (size_t)pg_text()->base64(
      (const char *)src, (uint32_t)n,
      no_padding ? PG_BASE64_NO_PADDING : PG_BASE64_PLAIN, (char *)dst);
}

/* 1, or 0 when src is not base64 */
int ngx_http_lua_ffi_decode_base64(const u_char *src, size_t n, u_char *dst,
                                   size_t *dst_n) {
  double got = pg_text()->unbase64((const char *)src, (uint32_t)n,
                                   PG_BASE64_PLAIN, (char *)dst);
  *dst_n = got < 0 ? 0 : (size_t)got;
  return got >= 0;
}

static pg_str escaped(const u_char *src, size_t n, int type) {
  pg_str out = { "", 0 };
  uint32_t set = type >= 0 && type <= PG_ESCAPE_VALUE
                     ? (uint32_t)type : PG_ESCAPE_COMPONENT;
  pg_escape(set, (const char *)src, (uint32_t)n, &out);
  return out;
}

size_t ngx_http_lua_ffi_uri_escaped_length(const u_char *src, size_t n,
                                           int type) {
  return escaped(src, n, type).n;
}

/* dst has room for what ngx_http_lua_ffi_uri_escaped_length said. */
void ngx_http_lua_ffi_escape_uri(const u_char *src, size_t n, u_char *dst,
                                 int type) {
  pg_str out = escaped(src, n, type);
  memcpy(dst, out.p, out.n);
}

size_t ngx_http_lua_ffi_unescape_uri(const u_char *src, size_t n,
                                     u_char *dst) {
  pg_str out = { "", 0 };
  pg_unescape((const char *)src, (uint32_t)n, &out);
  memcpy(dst, out.p, out.n);
  return out.n;
}

void ngx_http_lua_ffi_str_replace_char(u_char *p, size_t n, const u_char from,
                                       const u_char to) {
  for (; n; p++, n--)
    if (*p == from) *p = to;
}

/* ---- time ---- */

/* The time that the state running here goes by. */
static double now(void) {
  pg_state *v = pg_inside();
  return v ? v->vm.now : pg_wall();
}

double ngx_http_lua_ffi_now(void) { return now(); }
long ngx_http_lua_ffi_time(void) { return (long)now(); }
long ngx_http_lua_ffi_monotonic_msec(void) { return pg_mono() / 1000000; }

void ngx_http_lua_ffi_update_time(void) {
  pg_state *v = pg_inside();
  if (v) v->vm.now = pg_wall();
}

void ngx_http_lua_ffi_today(u_char *buf) {
  pg_format_time(now(), PG_TIME_DATE, (char *)buf);
}

void ngx_http_lua_ffi_localtime(u_char *buf) {
  pg_format_time(now(), PG_TIME_LOCAL, (char *)buf);
}

void ngx_http_lua_ffi_utctime(u_char *buf) {
  pg_format_time(now(), PG_TIME_UTC, (char *)buf);
}

int ngx_http_lua_ffi_cookie_time(u_char *buf, long t) {
  return (int)pg_format_time((double)t, PG_TIME_COOKIE, (char *)buf);
}

void ngx_http_lua_ffi_http_time(u_char *buf, long t) {
  pg_format_time((double)t, PG_TIME_HTTP, (char *)buf);
}

void ngx_http_lua_ffi_parse_http_time(const u_char *p, size_t n, long *t) {
  *t = (long)pg_parse_http_time((const char *)p, (uint32_t)n);
}
