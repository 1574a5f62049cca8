/*
 * harness.c: the Lua bridge without Go, so that callgrind counts it and
 * nothing else. It boots a state as luavm does and runs one handler, again and
 * again; what Go does between runs is done here, outside of the count.
 *
 *   pg_open, lualib's files, pg_boot, pg_compile     not instrumented
 *   warm rounds                                      not instrumented
 *   rounds:  a request's variables, its slot reset   not collected
 *            pg_resume until the handler has ended   COLLECTED
 *            ops performed: the peer of a socket     not collected
 *
 * The figure must be the same for the same binary: the JIT compiler is off,
 * time stands still for scripts, and LuaJIT's seed of string hashes is not the
 * kernel's (__wrap_syscall, put in place by the linker).
 *
 *   harness SHIM LUALIB SCRIPT PHASE WARM ROUNDS MODULE...
 *
 * SHIM and LUALIB are directories, MODULE a file of LUALIB without ".lua". It
 * ends with 1 and a line that says why when a handler fails or does nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

#include "limit.h"
#include "request.h"
#include "shdict.h"
#include "shim.h"

int pg_provide(pg_state *v, pg_shdict **dicts, uint32_t n);

__attribute__((noreturn, format(printf, 1, 2)))
static void die(const char *form, ...) {
  va_list list;
  va_start(list, form);
  fputs("harness: ", stderr);
  vfprintf(stderr, form, list);
  fputc('\n', stderr);
  exit(1);
}

/* ---- what would differ from run to run ---- */

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

long __wrap_syscall(long number, ...) {
  va_list list;
  long a[6];
  va_start(list, number);
  for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
  va_end(list);
  if (number == SYS_getrandom) {
    memset((void *)a[0], 0x5a, (size_t)a[1]);
    return a[1];
  }
  return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- booting ---- */

typedef struct text { char *p; size_t n; } text;

static text read_file(const char *dir, const char *name, const char *ending) {
  char path[4096];
  text t = {NULL, 0};
  FILE *f;
  long size;
  snprintf(path, sizeof path, "%s%s%s%s", dir, *dir ? "/" : "", name, ending);
  f = fopen(path, "rb");
  if (!f || fseek(f, 0, SEEK_END) || (size = ftell(f)) < 0)
    die("%s: %s", path, strerror(errno));
  rewind(f);
  t.n = (size_t)size;
  t.p = calloc(1, t.n + 1);
  if (!t.p || fread(t.p, 1, t.n, f) != t.n) die("%s: cannot be read", path);
  fclose(f);
  return t;
}

/* The marked part of a header, as shim.Declarations gives it. */
static const char *marked(const char *dir, const char *name) {
  char *from = strstr(read_file(dir, name, "").p, "/* PERIGEE FFI BEGIN */");
  char *to = from ? strstr(from, "/* PERIGEE FFI END */") : NULL;
  if (!to) die("%s has no marked part", name);
  *to = 0;
  return from;
}

static void boot_text(pg_state *v, const char *key, const char *value) {
  pg_boot_string(v, key, value, strlen(value));
}

/* A table of 64 buckets in one shard, and a limit that is never met. */
static void boot_limit(pg_state *v) {
  enum { BUCKETS = 64, SHIFT = 64 - 6 };
  struct { pg_limit l; char name[4]; } packed = {
    .l = { .seed = 7, .interval = 2048, .tau = 2048000000000ull,
           .never = 1000000000, .burst = 1000000000, .name_len = 4 },
    .name = {'k', 'e', 'y', 's'},
  };
  char *table = aligned_alloc(64, BUCKETS_AT + BUCKETS * BUCKET_SIZE);
  if (!table) die("no memory");
  memset(table, 0, BUCKETS_AT + BUCKETS * BUCKET_SIZE);
  *(uint64_t *)(table + HEAD_SHIFT) = SHIFT;
  *(uint64_t *)(table + HEAD_MASK) = BUCKETS - 1;
  *(uint64_t *)(table + HEAD_BUCKETS) = BUCKETS;
  *(uint64_t *)(table + HEAD_SWEPT) = (uint64_t)pg_mono();
  packed.l.table = table;
  pg_boot_string(v, "limits", (char *)&packed, sizeof packed.l + 4);
}

static pg_state *boot(const char *shim, const char *lualib, char **modules) {
  lua_State *L = luaL_newstate();
  pg_shdict *dict = pg_shdict_open("d", 1, 1 << 20);
  char cdef[1 << 17];
  pg_state *v;
  text init;
  if (!L || !dict) die("no memory");
  luaL_openlibs(L);
  luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
  v = pg_open(L, 0);
  if (!v || pg_provide(v, &dict, 1)) die("no memory");
  snprintf(cdef, sizeof cdef, "%s%s", marked(shim, "perigee_ffi.h"),
           marked(shim, "metrics_ffi.h"));
  boot_text(v, "cdef", cdef);
  boot_text(v, "path", "");
  boot_text(v, "cpath", "");
  boot_text(v, "prefix", "/");
  boot_text(v, "body_temp", "/tmp");
  boot_text(v, "regex_cache", "1024");
  boot_text(v, "regex_limit", "0");
  boot_text(v, "thread_pools", "");
  boot_text(v, "kind", "");
  boot_limit(v);
  for (; *modules; modules++) {
    text t = read_file(lualib, *modules, ".lua");
    if (pg_boot_module(v, *modules, t.p, t.n))
      die("%.*s", (int)v->err_len, v->err);
  }
  init = read_file(lualib, "init", ".lua");
  if (pg_boot(v, init.p, init.n)) die("%.*s", (int)v->err_len, v->err);
  v->vm.fixed = 1700000000;
  v->vm.log_level = 4;       /* errors; a script's debug lines are dropped */
  return v;
}

/* ---- an exchange ---- */

static const char head[] =
  "GET /api/items?id=42&sort=name&page=3 HTTP/1.1\r\n"
  "Host: api.example.com\r\nUser-Agent: harness/1.0\r\n"
  "Accept: application/json\r\nX-Api-Key: key-0123456789\r\n"
  "Cookie: session=abcdef; theme=dark\r\n\r\n";
static const char resp[] =
  "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer: origin\r\n"
  "Content-Length: 2\r\n\r\n";

static void set_variable(pg_slot *s, int which, const char *value) {
  if (pg_arena_put(s, &s->vars[which], value, (uint32_t)strlen(value)))
    die("no memory");
}

/* As luavm's release and reset, then what a driver sets. */
static void renew(pg_state *v, pg_slot *s) {
  pg_seat *seat = (pg_seat *)s;
  if (!seat->freed) {
    seat->freed = 1;
    seat->next_freed = v->freed;
    v->freed = seat;
  }
  memset(s->vars, 0, sizeof s->vars);
  s->arena_len = s->log_len = s->log_done = s->out_len = s->extra_n = 0;
  s->flags = s->has_exit = 0;
  s->status = s->exit_code = s->chunk_last = s->chunk_set = 0;
  s->ctx_key = 0;
  s->gen++;
  set_variable(s, PG_VAR_URI, "/api/items");
  set_variable(s, PG_VAR_ARGS, "id=42&sort=name&page=3");
  set_variable(s, PG_VAR_REQUEST_URI, "/api/items?id=42&sort=name&page=3");
  set_variable(s, PG_VAR_METHOD, "GET");
  set_variable(s, PG_VAR_HOST, "api.example.com");
  set_variable(s, PG_VAR_SCHEME, "http");
  set_variable(s, PG_VAR_REMOTE_ADDR, "192.0.2.7");
  s->status = 200;
  s->http_minor = 1;
  v->notes_n = v->lines_len = v->lines_lost = 0;
}

static int peer = -1;        /* the other end of the one connection */

/* Performs what t waits for; what its op brings is in *data. */
static void perform(pg_thread *t, const char **data) {
  pg_sock *s = (pg_sock *)(uintptr_t)t->op_num2;
  char asked[256];
  int ends[2];
  *data = "";
  switch (t->op) {
  case PG_OP_SLEEP:
    t->res = 0;
    return;
  case PG_OP_SOCK_CONNECT:
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
      die("socketpair: %s", strerror(errno));
    s->fd = ends[0];
    s->handle = 1;
    peer = ends[1];
    t->res = 0;
    *data = "127.0.0.1:6379";
    return;
  case PG_OP_SOCK_READ:
    if (recv(peer, asked, sizeof asked, MSG_DONTWAIT) <= 0 ||
        send(peer, "+PONG\r\n", 7, 0) != 7)
      die("the script reads and has sent nothing");
    t->res = (int32_t)recv(s->fd, s->buf + s->fill, s->cap - s->fill, 0);
    return;
  }
  die("nobody performs op %u here", t->op);
}

static void exchange(pg_state *v, pg_slot *s, pg_run *r, int ref) {
  pg_thread *t = NULL;
  const char *data = "";
  renew(v, s);
  for (;;) {
    int status;
    CALLGRIND_TOGGLE_COLLECT;
    status = pg_resume(v, s, r, ref, t, head, sizeof head - 1, resp,
                       sizeof resp - 1, NULL, 0, data, (uint32_t)strlen(data),
                       0);
    CALLGRIND_TOGGLE_COLLECT;
    if (status == PG_DONE) return;
    if (status != PG_WAIT)
      die("status %d: %.*s", status, (int)v->err_len, v->err);
    t = r->fresh;
    if (!t || t->next) die("more than one op at a time is not served here");
    r->fresh = r->fresh_last = NULL;
    ref = -1;
    perform(t, &data);
  }
}

static int number(const char *text) {
  char *end;
  long n = strtol(text, &end, 10);
  if (*end || n < 0 || n > 1000000) die("not a number: %s", text);
  return (int)n;
}

int main(int argc, char **argv) {
  pg_socket_conf conf = { 1000, 1000, 1000, 60000, 30, 4096, 0 };
  pg_state *v;
  pg_slot *s;
  pg_run *r;
  text script;
  size_t used;
  int ref, i, warm, rounds;
  if (argc < 8) die("see the top of harness.c for its arguments");
  v = boot(argv[1], argv[2], argv + 7);
  script = read_file("", argv[3], ".lua");
  warm = number(argv[5]);
  rounds = number(argv[6]);
  ref = pg_compile(v, script.p, script.n, "=script", NULL);
  if (ref < 0) die("%.*s", (int)v->err_len, v->err);
  s = pg_slot_new(1, 1 << 20, 1 << 20);
  r = pg_run_new();
  if (!s || !r) die("no memory");
  s->sockets = &conf;
  r->phase = (uint32_t)number(argv[4]);
  for (i = 0; i < warm; i++) exchange(v, s, r, ref);
  if (lua_gc(v->L, LUA_GCCOLLECT, 0) || lua_gc(v->L, LUA_GCSTOP, 0))
    die("the collector does not stop");
  used = v->used;
  CALLGRIND_START_INSTRUMENTATION;
  for (i = 0; i < rounds; i++) exchange(v, s, r, ref);
  CALLGRIND_STOP_INSTRUMENTATION;
  printf("%zu\n", v->used - used);
  return 0;
}
