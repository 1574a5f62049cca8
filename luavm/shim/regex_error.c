//go:build cgo && luajit

/*
 * regex_error.c: PCRE2's error numbers and messages as those of PCRE1, which
 * OpenResty 0.10.23 shows: scripts and tests compare them.
 *
 * Compile errors of both are numbered alike, PCRE2's from 101 on, but many
 * moved or got another wording. A number that is not in the table has the same
 * text in both, or no counterpart; then PCRE2's text is taken.
 */
#include "regex.h"

#include <stdio.h>
#include <string.h>

static const struct { int number; const char *text; } wording[] = {
  { 109, "nothing to repeat" },
  { 114, "missing )" },
  { 118, "missing ) after comment" },
  { 121, "failed to get memory" },
  { 122, "unmatched parentheses" },
  { 124, "malformed number or name after (?(" },
  { 126, "a numbered reference must not be zero" },
  { 127, "conditional group contains more than two branches" },
  { 129, "digit expected after (?+" },
  { 134, "character value in \\x{} or \\o{} is too large" },
  { 135, "lookbehind assertion is not fixed length" },
  { 136, "\\C not allowed in lookbehind assertion" },
  { 137, "PCRE does not support \\L, \\l, \\N{name}, \\U, or \\u" },
  { 138, "number after (?C is > 255" },
  { 139, "closing ) for (?C expected" },
  { 140, "(*VERB) not recognized or malformed" },
  { 142, "syntax error in subpattern name (missing terminator)" },
  { 143, "two named subpatterns have the same name" },
  { 144, "group name must start with a non-digit" },
  { 147, "unknown property name after \\P or \\p" },
  { 148, "subpattern name is too long (maximum 32 characters)" },
  { 154, "DEFINE group contains more than one branch" },
  { 158, "(?R or (?[+-]digits must be followed by )" },
  { 161, "number is too big" },
  { 168, "\\c must be followed by an ASCII character" },
  { 177, "character value in \\u.... sequence is too large" },
  { 178, "digits missing in \\x{} or \\o{}" },
  { 182, "closing ) for (?C expected" },
  { 197, "number is too big" },
};

static const struct { int from, to; } numbers[] = {
  { PCRE2_ERROR_NULL, -2 },          { PCRE2_ERROR_BADOPTION, -3 },
  { PCRE2_ERROR_BADMAGIC, -4 },      { PCRE2_ERROR_NOMEMORY, -6 },
  { PCRE2_ERROR_MATCHLIMIT, -8 },    { PCRE2_ERROR_CALLOUT, -9 },
  { PCRE2_ERROR_BADUTFOFFSET, -11 }, { PCRE2_ERROR_PARTIAL, -12 },
  { PCRE2_ERROR_INTERNAL, -14 },     { PCRE2_ERROR_DFA_UITEM, -16 },
  { PCRE2_ERROR_DFA_UCOND, -17 },    { PCRE2_ERROR_DFA_UFUNC, -16 },
  { PCRE2_ERROR_DFA_WSSIZE, -19 },   { PCRE2_ERROR_DFA_RECURSE, -20 },
  { PCRE2_ERROR_DEPTHLIMIT, -21 },   { PCRE2_ERROR_HEAPLIMIT, -21 },
  { PCRE2_ERROR_BADOFFSET, -24 },    { PCRE2_ERROR_RECURSELOOP, -26 },
  { PCRE2_ERROR_JIT_STACKLIMIT, -27 }, { PCRE2_ERROR_BADMODE, -28 },
  { PCRE2_ERROR_DFA_BADRESTART, -30 },
};

static int is_bad_utf(int rc) {
  return rc <= PCRE2_ERROR_UTF8_ERR1 && rc >= PCRE2_ERROR_UTF8_ERR21;
}

int32_t pg_regex_number(int rc) {
  size_t i;
  if (rc >= PCRE2_ERROR_NOMATCH) return rc;
  if (is_bad_utf(rc)) return -10;
  for (i = 0; i < sizeof numbers / sizeof *numbers; i++)
    if (numbers[i].from == rc) return numbers[i].to;
  return rc;
}

static const char *text_of(int code, char *room, size_t size) {
  size_t i;
  if (is_bad_utf(code)) return "invalid UTF-8 string";
  for (i = 0; i < sizeof wording / sizeof *wording; i++)
    if (wording[i].number == code) return wording[i].text;
  if (pcre2_get_error_message(code, (PCRE2_UCHAR *)room, size) < 0)
    snprintf(room, size, "error %d", code);
  return room;
}

/* The parenthesis that closes the group which begins at p[at]; n: none. */
static size_t closing(const char *p, size_t at, uint32_t n) {
  int depth = 0, class = 0;
  for (; at < n; at++) {
    switch (p[at]) {
    case '\\': at++; break;
    case '[': class = 1; break;
    case ']': class = 0; break;
    case '(': depth += !class; break;
    case ')': depth -= !class;
    }
    if (depth <= 0) break;
  }
  return at < n ? at : n;
}

/* Whether the pattern ends within "(?", behind some option letters. */
static int open_options(const char *p, uint32_t n) {
  while (n && (p[n - 1] == '-' || ((p[n - 1] | 32) >= 'a' &&
                                   (p[n - 1] | 32) <= 'z')))
    n--;
  return n >= 2 && p[n - 1] == '?' && p[n - 2] == '(';
}

/* Where PCRE1 saw the error; PCRE2 is a byte further for some. A reference by
   number is looked up at the end of the pattern, one by name behind it. */
static size_t place_of(int code, size_t at, const char *p, uint32_t n) {
  switch (code) {
  case 137: case 143: case 147: case 150: case 151: case 157: case 165:
  case 169: case 171:
    return at ? at - 1 : 0;
  case 125:
    return closing(p, at, n);
  case 115:
    if (at && at < n && p[at] >= '0' && p[at] <= '9' && p[at - 1] == '\\')
      return n;
    while (at < n && (p[at] == '_' || (p[at] | 32) >= 'a') &&
           (p[at] | 32) <= 'z')
      at++;
  }
  return at;
}

static void add(pg_matcher *m, size_t *len, const char *p, size_t n) {
  if (n > PG_REGEX_ERROR - *len) n = PG_REGEX_ERROR - *len;
  memcpy(m->error + *len, p, n);
  *len += n;
  m->error[*len] = '\0';
}

static void add_text(pg_matcher *m, size_t *len, const char *p) {
  add(m, len, p, strlen(p));
}

void pg_regex_message(pg_matcher *m, int code, size_t at, const char *p,
                      uint32_t n) {
  char room[128];
  size_t len = 0;
  if (code == PCRE2_ERROR_MISSING_CLOSING_PARENTHESIS && open_options(p, n))
    code = PCRE2_ERROR_INVALID_AFTER_PARENS_QUERY;
  add_text(m, &len, "pcre_compile() failed: ");
  add_text(m, &len, text_of(code, room, sizeof room));
  add_text(m, &len, " in \"");
  add(m, &len, p, n);
  at = place_of(code, at, p, n);
  if (at < n) {
    add_text(m, &len, "\" at \"");
    add(m, &len, p + at, n - at);
  }
  add_text(m, &len, "\"");
}
