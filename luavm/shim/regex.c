//go:build cgo && luajit

/*
 * regex.c: ngx.re on PCRE2. Lua (ngx/re.lua) calls the functions at the end of
 * this file over FFI; nothing here enters Go.
 *
 *   Lua heap              C heap, counted in v->used      who frees it
 *   ---------------       ----------------------------    ------------------
 *   cdata pg_regex* --->  pg_pattern { pcre2_code, JIT }  ffi.gc, or destroy
 *   string <--copy------  matcher->out                    next call, VM's end
 *                         matcher: contexts, offsets      VM's end
 *                           held: what matching allocates   also: recover()
 *
 * Time. A match may take years: (a+)+b on forty letters. PCRE2's limits count
 * its steps, and lua.regex.match_limit sets them as lua_regex_match_limit
 * does, but steps are not time, and their default of ten million is a second
 * or so. So the watchdog may end a match where it stands:
 *
 *   pg_regex_run                          signal handler (watchdog.c)
 *   setjmp(v->match_jump)
 *   v->matching = 1
 *     pcre2_match ...      <------------- budget used up: pc = leap, unless pc
 *   v->matching = 0                       is in our own code or in a library
 *     (jumped) recover(): drop all that the match had allocated
 *     return PG_REGEX_STOPPED, and ngx/re.lua raises the budget's error
 *
 * It is safe because a match owns no locks and nothing outside of it points to
 * what it allocates: every block comes from alloc_held() and is in a list. Its
 * own code is what the handler never interrupts, so the list is whole. JIT
 * compiling takes a lock of the process: it is done under crit, for which no
 * jump is made, and is bounded by the size of a pattern (64 KiB of code).
 *
 * Memory. All of it counts against the VM's limit. Lua's collector does not
 * see it, therefore ngx/re.lua frees what it does not keep at once, and
 * collects and tries again when a pattern finds no memory.
 */
#include "regex.h"

#include <stdlib.h>
#include <string.h>

enum {
  DFA_WORDS = 1000,          /* workspace of pcre2_dfa_match, in ints */
  HEAP_LIMIT = 64 << 10,     /* KiB of backtracking points in one match */
  KEEP_HELD = 256 << 10,     /* bytes that matching may keep for the next */
  JIT_STACK_MIN = 32 << 10,
  MATCH_LIMIT = 10000000     /* as PCRE 1 and 2 are built by default */
};

/* ---- memory ---- */

static pg_block *take(pg_state *v, size_t n) {
  pg_block *b;
  size_t all = n + sizeof(pg_block);
  if (v->limit && v->used + all > v->limit) {
    v->starved = 1;
    return NULL;
  }
  b = malloc(all);
  if (!b) return NULL;
  b->n = all;
  b->back = NULL;
  b->next = NULL;
  v->used += all;
  if (v->used > v->peak) v->peak = v->used;
  return b;
}

static void give(pg_state *v, pg_block *b) {
  if (b->back) {
    *b->back = b->next;
    if (b->next) b->next->back = b->back;
  }
  v->used -= b->n;
  free(b);
}

void *pg_regex_alloc(pg_state *v, size_t n) {
  pg_block *b = take(v, n);
  return b ? b + 1 : NULL;
}

void pg_regex_free(pg_state *v, void *p) {
  if (p) give(v, (pg_block *)p - 1);
}

static void *alloc_plain(size_t n, void *m) {
  return pg_regex_alloc(((pg_matcher *)m)->v, n);
}

static void *alloc_held(size_t n, void *data) {
  pg_matcher *m = data;
  pg_block *b = take(m->v, n);
  if (!b) return NULL;
  b->next = m->held;
  b->back = &m->held;
  if (b->next) b->next->back = &b->next;
  m->held = b;
  return b + 1;
}

static void free_any(void *p, void *m) {
  pg_regex_free(((pg_matcher *)m)->v, p);
}

/* ---- the matcher ---- */

static void drop_held(pg_matcher *m) {
  while (m->held) give(m->v, m->held);
  m->passing = NULL;
  m->interpret = m->jit = m->dfa = NULL;
  m->data = NULL;
  m->pairs = 0;
}

/*
 * A limit that was set is one of PCRE1, as nginx's directive. PCRE2's compiled
 * code counts as PCRE1's did; its interpreter counts 8 steps where PCRE1's
 * counted 9, measured with patterns of a web application firewall.
 */
static void set_limits(pg_matcher *m) {
  uint32_t limit = m->v->match_limit ? m->v->match_limit : MATCH_LIMIT;
  pcre2_set_match_limit(m->jit, limit);
  if (m->v->match_limit) limit = (uint32_t)(((uint64_t)limit * 8 + 8) / 9);
  pcre2_set_match_limit(m->interpret, limit);
  pcre2_set_heap_limit(m->interpret, HEAP_LIMIT);
  pcre2_set_heap_limit(m->dfa, HEAP_LIMIT);
  if (m->jit_stack) pcre2_jit_stack_assign(m->jit, NULL, m->jit_stack);
}

/* 0, or -1 with nothing held. */
static int hold(pg_matcher *m, uint32_t pairs) {
  if (!m->passing) {
    m->passing = pcre2_general_context_create(alloc_held, free_any, m);
    if (!m->passing) return -1;
    m->interpret = pcre2_match_context_create(m->passing);
    m->jit = pcre2_match_context_create(m->passing);
    m->dfa = pcre2_match_context_create(m->passing);
    if (!m->interpret || !m->jit || !m->dfa) { drop_held(m); return -1; }
    set_limits(m);
  }
  if (pairs > m->pairs) {
    if (m->data) pcre2_match_data_free(m->data);
    if (pairs < 16) pairs = 16;
    m->pairs = 0;
    m->data = pcre2_match_data_create(pairs, m->passing);
    if (!m->data) { drop_held(m); return -1; }
    m->pairs = pairs;
  }
  return 0;
}

static void jit_stack_free(pg_matcher *m) {
  if (!m->jit_stack) return;
  m->v->vm.crit++;
  pcre2_jit_stack_free(m->jit_stack);
  m->v->vm.crit--;
  m->jit_stack = NULL;
  m->v->used -= m->jit_stack_bytes;
}

static int jit_stack_make(pg_matcher *m) {
  pg_state *v = m->v;
  size_t n = m->jit_stack_bytes;
  if (v->limit && v->used + n > v->limit) return -1;
  v->vm.crit++;
  m->jit_stack = pcre2_jit_stack_create(JIT_STACK_MIN, n, m->general);
  v->vm.crit--;
  if (!m->jit_stack) return -1;
  v->used += n;
  return 0;
}

/* After a jump out of PCRE2: what it worked on is in an unknown state. */
static void recover(pg_matcher *m) {
  drop_held(m);
  if (m->jit_stack) {
    jit_stack_free(m);
    jit_stack_make(m);
  }
}

pg_matcher *pg_regex_matcher(pg_state *v) {
  pg_matcher *m = v->matcher;
  if (m) return m;
  m = pg_regex_alloc(v, sizeof *m);
  if (!m) return NULL;
  memset(m, 0, sizeof *m);
  m->v = v;
  m->general = pcre2_general_context_create(alloc_plain, free_any, m);
  if (m->general) m->compile = pcre2_compile_context_create(m->general);
  if (!m->compile) {
    if (m->general) pcre2_general_context_free(m->general);
    pg_regex_free(v, m);
    return NULL;
  }
  v->matcher = m;
  return m;
}

/* After lua_close, which ran the finalizers of all patterns. */
void pg_matcher_free(pg_state *v) {
  pg_matcher *m = v->matcher;
  if (!m) return;
  v->matcher = NULL;
  drop_held(m);
  jit_stack_free(m);
  pcre2_compile_context_free(m->compile);
  pcre2_general_context_free(m->general);
  pg_regex_free(v, m->out);
  pg_regex_free(v, m);
}

/* ---- matching ---- */

/*
 * noinline, and nothing of its frame is used after the jump came back but what
 * is volatile: __builtin_longjmp restores the frame and stack pointers only.
 */
__attribute__((noinline))
static int match(pg_pattern *r, const char *s, uint32_t n, uint32_t pos) {
  pg_state *volatile v = r->v;
  pg_matcher *m = v->matcher;
  PCRE2_SPTR text = (PCRE2_SPTR)s;
  int rc;
  if (__builtin_setjmp(v->match_jump)) {
    v->matching = 0;
    recover(v->matcher);
    return PG_REGEX_STOPPED;
  }
  v->matching = 1;
  if (r->flags & PG_REGEX_DFA) {
    int words[DFA_WORDS];
    rc = pcre2_dfa_match(r->code, text, n, pos, 0, m->data, m->dfa, words,
                         DFA_WORDS);
    if (rc > 1) rc = 1;
  } else {
    rc = pcre2_match(r->code, text, n, pos, 0, m->data,
                     r->jit_bytes ? m->jit : m->interpret);
  }
  v->matching = 0;
  return rc;
}

/* Backtracking points stay for the next match; not if they were many. */
static void shrink(pg_matcher *m) {
  size_t n = 0;
  const pg_block *b;
  for (b = m->held; b; b = b->next) n += b->n;
  if (n > KEEP_HELD) drop_held(m);
}

int32_t pg_regex_run(pg_pattern *r, const char *s, uint32_t n, uint32_t pos) {
  pg_matcher *m = r->v->matcher;
  uint32_t i, pairs = (uint32_t)r->pub.ncaptures + 1;
  const PCRE2_SIZE *at;
  int rc;
  if (hold(m, pairs)) return pg_regex_number(PCRE2_ERROR_NOMEMORY);
  rc = match(r, s, n, pos);
  if (rc == PG_REGEX_STOPPED) return rc;
  if (rc >= 0) {
    at = pcre2_get_ovector_pointer(m->data);
    for (i = 0; i < 2 * pairs; i++) r->captures[i] = (int32_t)at[i];
    /* \K in a group called from a lookahead can set the start behind the end */
    if (r->captures[0] > r->captures[1]) r->captures[0] = r->captures[1];
  }
  if (!r->jit_bytes) shrink(m);
  return rc < 0 ? pg_regex_number(rc) : rc;
}

/* A character further. */
uint32_t pg_regex_step(const pg_pattern *r, const char *s, uint32_t n,
                       uint32_t pos) {
  pos++;
  if (r->flags & PG_REGEX_UTF)
    while (pos < n && ((unsigned char)s[pos] & 0xC0) == 0x80) pos++;
  return pos;
}

static int32_t api_exec(pg_regex *re, const char *s, uint32_t n,
                        uint32_t pos) {
  return pg_regex_run((pg_pattern *)re, s, n, pos);
}

/* ---- settings ---- */

static void api_match_limit(pg_vm *vm, uint32_t limit) {
  pg_state *v = (pg_state *)vm;
  v->match_limit = limit;
  if (v->matcher) drop_held(v->matcher);
}

static int32_t api_jit_stack(pg_vm *vm, double size) {
  pg_matcher *m = pg_regex_matcher((pg_state *)vm);
  if (!m) return -1;
  jit_stack_free(m);
  drop_held(m);                          /* its match context knew the stack */
  if (!(size > JIT_STACK_MIN)) size = JIT_STACK_MIN;
  if (size > 1 << 30) size = 1 << 30;
  m->jit_stack_bytes = (size_t)size;
  return jit_stack_make(m);
}

static const pg_regex_api api = {
    .match_limit = api_match_limit,
    .compile = pg_regex_compile,
    .destroy = pg_regex_destroy,
    .exec = api_exec,
    .sub = pg_regex_sub,
    .jit_stack = api_jit_stack,
};

const pg_regex_api *pg_regexes(void) { return &api; }
