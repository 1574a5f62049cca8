/*
 * text.h: what the files behind pg_text_api share. Not seen by Go or Lua.
 */
#ifndef PERIGEE_TEXT_H
#define PERIGEE_TEXT_H

#include "perigee_ffi.h"

const pg_text_api *pg_text(void);

/* digest.c */
void pg_md5(const char *s, uint32_t n, char *dst);
void pg_sha1(const char *s, uint32_t n, char *dst);
void pg_hmac_sha1(const char *k, uint32_t kn, const char *s, uint32_t n,
                  char *dst);
uint32_t pg_crc32(const char *s, uint32_t n);
void pg_hex(const char *s, uint32_t n, char *dst);

/* calendar.c */
uint32_t pg_format_time(double sec, int32_t form, char *dst);
double pg_parse_http_time(const char *s, uint32_t n);

#endif
