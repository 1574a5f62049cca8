//go:build cgo && luajit

/*
 * regex_compile.c: from a pattern's text to a pg_pattern. Scripts were written
 * for PCRE1, which lets pass some patterns that PCRE2 refuses; those that are
 * met in practice are put right here.
 */
#include "regex.h"

#include <string.h>

enum { HYPHENS = 32 };       /* that are escaped in one pattern */

static uint32_t options_of(uint32_t flags) {
  static const struct { uint32_t flag, options; } map[] = {
    { PG_REGEX_CASELESS, PCRE2_CASELESS },
    { PG_REGEX_DOTALL, PCRE2_DOTALL },
    { PG_REGEX_MULTILINE, PCRE2_MULTILINE },
    { PG_REGEX_EXTENDED, PCRE2_EXTENDED },
    { PG_REGEX_ANCHORED, PCRE2_ANCHORED },
    { PG_REGEX_UTF, PCRE2_UTF },
    { PG_REGEX_DUPNAMES, PCRE2_DUPNAMES },
    { PG_REGEX_JAVASCRIPT, PCRE2_ALT_BSUX | PCRE2_ALLOW_EMPTY_CLASS |
                           PCRE2_MATCH_UNSET_BACKREF },
  };
  uint32_t options = 0;
  size_t i;
  for (i = 0; i < sizeof map / sizeof *map; i++)
    if (flags & map[i].flag) options |= map[i].options;
  /* PCRE1 read a subject that is no UTF-8 anyhow and could run off its end;
     PCRE2 can be told that such bytes match nothing. pcre2_dfa_match cannot:
     it refuses the subject, as without U. */
  if ((flags & PG_REGEX_ANY_BYTES) && !(flags & PG_REGEX_DFA))
    options |= PCRE2_MATCH_INVALID_UTF;
  return options;
}

/* ---- what PCRE1 lets pass ---- */

typedef struct source {      /* a pattern on its way through the compiler */
  pg_state *v;
  const char *p; size_t n;
  char *copy;                /* p, when it had to be changed */
  int hyphens;               /* backslashes that were put into it */
  int number; size_t at;     /* the error, and where */
} source;

/*
 * [\w-.] : PCRE2 takes the hyphen for the start of a range that cannot be. 1
 * when there is one to escape, and it was.
 */
static int escape_hyphen(source *s) {
  if (s->number != PCRE2_ERROR_CLASS_INVALID_RANGE || s->at >= s->n ||
      s->p[s->at] != '-' || s->hyphens == HYPHENS)
    return 0;
  if (!s->copy) {
    s->copy = pg_regex_alloc(s->v, s->n + HYPHENS);
    if (!s->copy) return 0;
    memcpy(s->copy, s->p, s->n);
    s->p = s->copy;
  }
  memmove(s->copy + s->at + 1, s->copy + s->at, s->n - s->at);
  s->copy[s->at] = '\\';
  s->n++;
  s->hyphens++;
  return 1;
}

/*
 * PCRE1 takes \y and the like for the letter. PCRE2 does if asked to, but
 * would then let pass more than PCRE1 did: it is asked the second time only.
 */
static pcre2_code *code_of(pg_matcher *m, source *s, uint32_t flags) {
  uint32_t options = options_of(flags), extra = 0;
  pcre2_code *c;
  for (;;) {
    c = pcre2_compile((PCRE2_SPTR)s->p, s->n, options, &s->number, &s->at,
                      m->compile);
    if (c) break;
    if (s->number == PCRE2_ERROR_UNKNOWN_ESCAPE && !extra) {
      extra = PCRE2_EXTRA_BAD_ESCAPE_IS_LITERAL;
      pcre2_set_compile_extra_options(m->compile, extra);
    } else if (!escape_hyphen(s)) {
      break;
    }
  }
  if (extra) pcre2_set_compile_extra_options(m->compile, 0);
  pg_regex_free(m->v, s->copy);
  return c;
}

/* ---- a pattern ---- */

static void describe(pg_pattern *r) {
  uint32_t names = 0, size = 0;
  PCRE2_SPTR table = NULL;
  if (!(r->flags & PG_REGEX_DFA)) {
    pcre2_pattern_info(r->code, PCRE2_INFO_NAMECOUNT, &names);
    pcre2_pattern_info(r->code, PCRE2_INFO_NAMEENTRYSIZE, &size);
    pcre2_pattern_info(r->code, PCRE2_INFO_NAMETABLE, &table);
  }
  r->pub.name_count = (int32_t)names;
  r->pub.name_entry_size = (int32_t)size;
  r->pub.name_table = table;
}

int pg_regex_jit(void) {
  uint32_t has = 0;
  return pcre2_config(PCRE2_CONFIG_JIT, &has) >= 0 && has;
}

static void jit_compile(pg_pattern *r) {
  pg_state *v = r->v;
  v->vm.crit++;
  pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE);   /* else: interpreted */
  v->vm.crit--;
  pcre2_pattern_info(r->code, PCRE2_INFO_JITSIZE, &r->jit_bytes);
  v->used += r->jit_bytes;
}

static pg_pattern *pattern_of(pg_state *v, pcre2_code *code, uint32_t flags) {
  pg_pattern *r;
  uint32_t groups = 0;
  if (!(flags & PG_REGEX_DFA))
    pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &groups);
  r = pg_regex_alloc(v, sizeof *r + 2 * (groups + 1) * sizeof(int32_t));
  if (!r) return NULL;
  r->code = code;
  r->v = v;
  r->flags = flags;
  r->jit_bytes = 0;
  r->pub.ncaptures = (int32_t)groups;
  r->pub.captures = r->captures;
  r->captures[0] = r->captures[1] = -1;
  describe(r);
  if ((flags & PG_REGEX_JIT) && !(flags & PG_REGEX_DFA)) jit_compile(r);
  return r;
}

pg_regex *pg_regex_compile(pg_vm *vm, const char *p, uint32_t n,
                           uint32_t flags, pg_regex_out *out) {
  static const char no_memory[] = "no memory";
  pg_matcher *m = pg_regex_matcher((pg_state *)vm);
  source s = { .v = (pg_state *)vm, .p = p, .n = n };
  pcre2_code *code;
  pg_pattern *r;
  out->count = 1;                        /* 1: for want of memory */
  out->p = no_memory;
  out->n = sizeof no_memory - 1;
  if (!m) return NULL;
  code = code_of(m, &s, flags);
  if (!code) {
    size_t put = (size_t)s.hyphens;
    pg_regex_message(m, s.number, s.at > put ? s.at - put : 0, p, n);
    out->count = s.number == PCRE2_ERROR_HEAP_FAILED;
    out->p = m->error;
    out->n = (uint32_t)strlen(m->error);
    return NULL;
  }
  r = pattern_of(m->v, code, flags);
  if (!r) { pcre2_code_free(code); return NULL; }
  return &r->pub;
}

void pg_regex_destroy(pg_regex *re) {
  pg_pattern *r = (pg_pattern *)re;
  pg_state *v = r->v;
  v->used -= r->jit_bytes;
  v->vm.crit++;
  pcre2_code_free(r->code);
  v->vm.crit--;
  pg_regex_free(v, r);
}
