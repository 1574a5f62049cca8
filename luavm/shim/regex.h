/*
 * regex.h: what the files behind pg_regex_api share. Not seen by Go or Lua.
 */
#ifndef PERIGEE_REGEX_H
#define PERIGEE_REGEX_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "shim.h"

/* A pattern. pub is first: Lua holds pointers to it. */
typedef struct pg_pattern {
  pg_regex pub;
  pcre2_code *code;
  pg_state *v;
  uint32_t flags;            /* PG_REGEX_* */
  size_t jit_bytes;          /* counted beside what PCRE2 allocates */
  int32_t captures[];        /* 2 * (ncaptures + 1) */
} pg_pattern;

/* Memory that PCRE2 got from us: see regex.c. */
typedef struct pg_block {
  size_t n;
  struct pg_block **back, *next;   /* of a list of pg_matcher, or NULL */
} pg_block;

enum { PG_REGEX_ERROR = 127 };     /* bytes of a message, as OpenResty's */

typedef struct pg_matcher {  /* of one VM */
  pg_state *v;
  pcre2_general_context *general;
  pcre2_compile_context *compile;
  pg_block *held;            /* everything in the next four lines */
  pcre2_general_context *passing;
  pcre2_match_context *interpret, *jit, *dfa;
  pcre2_match_data *data;
  uint32_t pairs;            /* of data */
  pcre2_jit_stack *jit_stack;
  size_t jit_stack_bytes;    /* 0: 32 KiB of the thread's own stack */
  char *out; uint32_t out_cap;
  char error[PG_REGEX_ERROR + 1];
} pg_matcher;

/* ---- regex.c ---- */
void *pg_regex_alloc(pg_state *, size_t n);    /* counted; NULL above limit */
void pg_regex_free(pg_state *, void *);
int32_t pg_regex_run(pg_pattern *, const char *s, uint32_t n, uint32_t pos);
uint32_t pg_regex_step(const pg_pattern *, const char *s, uint32_t n,
                       uint32_t pos);
pg_matcher *pg_regex_matcher(pg_state *);      /* NULL when memory is short */

/* ---- regex_compile.c ---- */
pg_regex *pg_regex_compile(pg_vm *, const char *p, uint32_t n, uint32_t flags,
                           pg_regex_out *);
void pg_regex_destroy(pg_regex *);

/* ---- regex_sub.c ---- */
int32_t pg_regex_sub(pg_regex *, const char *s, uint32_t n, const char *t,
                     uint32_t tn, uint32_t all, pg_regex_out *);
void pg_regex_shrink(pg_matcher *);

/* ---- regex_error.c ---- */
int32_t pg_regex_number(int rc);
void pg_regex_message(pg_matcher *, int code, size_t at, const char *p,
                      uint32_t n);

#endif
