//go:build cgo && luajit

/*
 * request_var.c: ngx.var.
 *
 * Names are looked up in this order: the built-in ones (a sorted table),
 * the slot's extra pairs (what `set` and captures made), the families
 * arg_*, http_*, cookie_*, sent_http_*. A name in any case is the same
 * name, as in nginx.
 */
#include "request.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* what ngx.var.nginx_version says; ngx.config.nginx_version agrees */
#define NGINX_VERSION "1.22.1"

enum {
  TEXT,                        /* arg: PG_VAR_* */
  FIELD,                       /* arg: index of field_names */
  NUMBER,                      /* arg: NUMBER_* */
  CLOCK,                       /* arg: CLOCK_* */
  IS_ARGS, HTTPS, BINARY_ADDR, REQUEST_LINE, REQUEST_BODY, STATUS, HOSTNAME,
  VERSION, FILENAME, REALPATH
};
enum {
  NUMBER_BYTES_SENT, NUMBER_BODY_BYTES_SENT, NUMBER_CONNECTION,
  NUMBER_CONNECTION_REQUESTS, NUMBER_REQUEST_LENGTH, NUMBER_PID
};
enum { CLOCK_MSEC, CLOCK_REQUEST, CLOCK_ISO8601, CLOCK_LOCAL };

static const char *const field_names[] = {"Content-Length", "Content-Type"};

static const struct builtin { const char *name; uint8_t kind, arg; } builtins[] = {
  {"args", TEXT, PG_VAR_ARGS},
  {"binary_remote_addr", BINARY_ADDR, 0},
  {"body_bytes_sent", NUMBER, NUMBER_BODY_BYTES_SENT},
  {"bytes_sent", NUMBER, NUMBER_BYTES_SENT},
  {"connection", NUMBER, NUMBER_CONNECTION},
  {"connection_requests", NUMBER, NUMBER_CONNECTION_REQUESTS},
  {"content_length", FIELD, 0},
  {"content_type", FIELD, 1},
  {"document_root", TEXT, PG_VAR_DOCUMENT_ROOT},
  {"document_uri", TEXT, PG_VAR_URI},
  {"echo_request_body", REQUEST_BODY, 0},   /* of the bundle's echo module */
  {"echo_request_method", TEXT, PG_VAR_METHOD},
  {"host", TEXT, PG_VAR_HOST},
  {"hostname", HOSTNAME, 0},
  {"https", HTTPS, 0},
  {"is_args", IS_ARGS, 0},
  {"msec", CLOCK, CLOCK_MSEC},
  {"nginx_version", VERSION, 0},
  {"pid", NUMBER, NUMBER_PID},
  {"query_string", TEXT, PG_VAR_ARGS},
  {"realpath_root", REALPATH, 0},
  {"remote_addr", TEXT, PG_VAR_REMOTE_ADDR},
  {"remote_port", TEXT, PG_VAR_REMOTE_PORT},
  {"request", REQUEST_LINE, 0},
  {"request_body", REQUEST_BODY, 0},
  {"request_body_file", TEXT, PG_VAR_BODY_FILE},
  {"request_filename", FILENAME, 0},
  {"request_id", TEXT, PG_VAR_REQUEST_ID},
  {"request_length", NUMBER, NUMBER_REQUEST_LENGTH},
  {"request_method", TEXT, PG_VAR_METHOD},
  {"request_time", CLOCK, CLOCK_REQUEST},
  {"request_uri", TEXT, PG_VAR_REQUEST_URI},
  {"route", TEXT, PG_VAR_ROUTE},
  {"scheme", TEXT, PG_VAR_SCHEME},
  {"server_addr", TEXT, PG_VAR_SERVER_ADDR},
  {"server_name", TEXT, PG_VAR_SERVER_NAME},
  {"server_port", TEXT, PG_VAR_SERVER_PORT},
  {"server_protocol", TEXT, PG_VAR_PROTOCOL},
  {"status", STATUS, 0},
  {"time_iso8601", CLOCK, CLOCK_ISO8601},
  {"time_local", CLOCK, CLOCK_LOCAL},
  {"upstream_addr", TEXT, PG_VAR_UPSTREAM_ADDR},
  {"upstream_response_time", TEXT, PG_VAR_UPSTREAM_RESPONSE_TIME},
  {"upstream_status", TEXT, PG_VAR_UPSTREAM_STATUS},
  {"uri", TEXT, PG_VAR_URI},
};

static const struct builtin *builtin(const char *name, uint32_t n)
{
  int lo = 0, hi = sizeof builtins / sizeof builtins[0];
  while (lo < hi) {
    int mid = (lo + hi) / 2;
    int d = pg_name_compare(name, n, builtins[mid].name);
    if (!d)
      return &builtins[mid];
    if (d < 0)
      hi = mid;
    else
      lo = mid + 1;
  }
  return NULL;
}

static pg_str *extra(pg_slot *s, const char *name, uint32_t n)
{
  uint32_t i, j;
  for (i = 0; i < s->extra_n; i++) {
    pg_str *k = &s->extra[2 * i];
    if (k->n != n)
      continue;
    for (j = 0; j < n && pg_lower((unsigned char)k->p[j]) ==
                             pg_lower((unsigned char)name[j]); j++)
      ;
    if (j == n)
      return k + 1;
  }
  return NULL;
}

/* printf into this thread's text memory */
__attribute__((format(printf, 2, 3)))
static int printed(pg_str *out, const char *form, ...)
{
  pg_view *v = pg_view_memory();
  char *to = v ? pg_view_text(v, 256) : NULL;
  va_list ap;
  int n;
  if (!to)
    return PG_E_MEMORY;
  va_start(ap, form);
  n = vsnprintf(to, 256, form, ap);
  va_end(ap);
  return pg_given(out, to, n < 0 ? 0 : n > 255 ? 255 : (uint32_t)n);
}

static int number(const pg_slot *s, int which, pg_str *out)
{
  long long value = 0;
  switch (which) {
  case NUMBER_BYTES_SENT: value = s->bytes_sent; break;
  case NUMBER_BODY_BYTES_SENT: value = s->body_bytes_sent; break;
  case NUMBER_CONNECTION: value = (long long)s->connection; break;
  case NUMBER_CONNECTION_REQUESTS:
    value = (long long)s->connection_requests;
    break;
  case NUMBER_REQUEST_LENGTH: value = s->request_length; break;
  case NUMBER_PID: value = getpid(); break;
  }
  return printed(out, "%lld", value);
}

static int clock_text(const pg_vm *vm, const pg_slot *s, int which,
                      pg_str *out)
{
  time_t now = (time_t)vm->now;
  char text[64];
  struct timespec t;
  struct tm tm;
  int64_t ms;
  switch (which) {
  case CLOCK_MSEC:
    return printed(out, "%.3f", vm->now);
  case CLOCK_REQUEST:
    clock_gettime(CLOCK_MONOTONIC, &t);
    ms = ((int64_t)t.tv_sec * 1000000000 + t.tv_nsec - s->start_ns) / 1000000;
    if (vm->fixed != 0)
      ms = (int64_t)((vm->now - s->start_time) * 1000 + 0.5);
    if (ms < 0 || !s->start_ns)
      ms = 0;
    return printed(out, "%lld.%03d", (long long)(ms / 1000), (int)(ms % 1000));
  }
  if (!localtime_r(&now, &tm) ||
      !strftime(text, sizeof text, which == CLOCK_LOCAL
                                       ? "%d/%b/%Y:%H:%M:%S %z"
                                       : "%Y-%m-%dT%H:%M:%S%z", &tm))
    return 0;
  if (which == CLOCK_LOCAL)
    return printed(out, "%s", text);
  /* +0100 -> +01:00 */
  return printed(out, "%.22s:%s", text, text + 22);
}

static int binary_addr(const pg_slot *s, pg_str *out)
{
  const pg_str *a = &s->vars[PG_VAR_REMOTE_ADDR];
  pg_view *v = pg_view_memory();
  char *to = v ? pg_view_text(v, 16) : NULL;
  char text[64];
  if (!to)
    return PG_E_MEMORY;
  if (!a->p || a->n >= sizeof text)
    return 0;
  memcpy(text, a->p, a->n);
  text[a->n] = 0;
  if (inet_pton(AF_INET, text, to) == 1)
    return pg_given(out, to, 4);
  if (inet_pton(AF_INET6, text, to) == 1)
    return pg_given(out, to, 16);
  return pg_given(out, a->p, a->n);         /* "unix:" */
}

static int request_line(const pg_slot *s, pg_str *out)
{
  const pg_str *h = &s->in[PG_IN_HEAD];
  const char *nl = h->p ? memchr(h->p, '\n', h->n) : NULL;
  uint32_t n = nl ? (uint32_t)(nl - h->p) : h->n;
  if (n && h->p[n - 1] == '\r')
    n--;
  return n ? pg_given(out, h->p, n) : 0;
}

static int host_name(pg_str *out)
{
  char name[256];
  if (gethostname(name, sizeof name))
    return 0;
  name[sizeof name - 1] = 0;
  return printed(out, "%s", name);
}

/* the file that nginx would map the path to */
static int file_name(const pg_slot *s, pg_str *out)
{
  const pg_str *root = &s->vars[PG_VAR_DOCUMENT_ROOT];
  const pg_str *uri = &s->vars[PG_VAR_URI];
  pg_view *v = pg_view_memory();
  char *to = v ? pg_view_text(v, (uint64_t)root->n + uri->n + 1) : NULL;
  if (!to)
    return PG_E_MEMORY;
  if (!root->p || !uri->p)
    return 0;
  memcpy(to, root->p, root->n);
  memcpy(to + root->n, uri->p, uri->n);
  return pg_given(out, to, root->n + uri->n);
}

/* the document root without symbolic links */
static int real_path(const pg_slot *s, pg_str *out)
{
  const pg_str *root = &s->vars[PG_VAR_DOCUMENT_ROOT];
  pg_view *v = pg_view_memory();
  char *to = v ? pg_view_text(v, PATH_MAX) : NULL;
  char path[PATH_MAX];
  if (!to)
    return PG_E_MEMORY;
  if (!root->p || root->n >= sizeof path)
    return 0;
  memcpy(path, root->p, root->n);
  path[root->n] = 0;
  return realpath(path, to) ? pg_given(out, to, (uint32_t)strlen(to)) : 0;
}

/* What a builtin reads of the slot that Go may not have filled in yet. */
static uint32_t parts_of(const struct builtin *b)
{
  switch (b->kind) {
  case TEXT:
    if (b->arg == PG_VAR_BODY_FILE)
      return 0;
    return b->arg >= PG_VAR_UPSTREAM_ADDR &&
                   b->arg <= PG_VAR_UPSTREAM_RESPONSE_TIME
               ? PG_PART_TRIES : PG_PART_REQUEST;
  case IS_ARGS: case BINARY_ADDR: case FILENAME: case REALPATH:
    return PG_PART_REQUEST;
  }
  return 0;
}

static int get_builtin(const pg_vm *vm, pg_slot *s, const struct builtin *b,
                       pg_str *out)
{
  const pg_str *t;
  if (pg_fill(s, parts_of(b)))
    return PG_E_MEMORY;
  switch (b->kind) {
  case TEXT:
    t = &s->vars[b->arg];
    return pg_given(out, t->p, t->n);
  case FIELD:
    return pg_var_field(s, PG_SIDE_REQ, field_names[b->arg],
                 (uint32_t)strlen(field_names[b->arg]), out);
  case NUMBER: return number(s, b->arg, out);
  case CLOCK: return clock_text(vm, s, b->arg, out);
  case IS_ARGS: return pg_given(out, "?", s->vars[PG_VAR_ARGS].n ? 1 : 0);
  case HTTPS: return pg_given(out, "on", s->flags & PG_F_TLS ? 2 : 0);
  case BINARY_ADDR: return binary_addr(s, out);
  case REQUEST_LINE: return request_line(s, out);
  case REQUEST_BODY: return pg_body(s, out) == 1 && out->n > 0;
  case STATUS: return printed(out, "%03d", s->status);
  case HOSTNAME: return host_name(out);
  case FILENAME: return file_name(s, out);
  case REALPATH: return real_path(s, out);
  case VERSION: return pg_given(out, NGINX_VERSION, sizeof NGINX_VERSION - 1);
  }
  return 0;
}

/* The traceparent, 00-trace_id-span_id-flags, and its parts. They come last: a
   variable of the configuration may have such a name. */
static int trace_part(const pg_slot *s, const char *name, uint32_t n,
                      pg_str *out)
{
  const pg_str *t = &s->vars[PG_VAR_TRACEPARENT];
  if (!t->p || t->n != 55)
    return 0;
  if (!pg_name_compare(name, n, "trace_id"))
    return pg_given(out, t->p + 3, 32);
  if (!pg_name_compare(name, n, "span_id"))
    return pg_given(out, t->p + 36, 16);
  if (!pg_name_compare(name, n, "traceparent"))
    return pg_given(out, t->p, t->n);
  return 0;
}

static int begins(const char *name, uint32_t n, const char *with)
{
  uint32_t w = (uint32_t)strlen(with);
  return n >= w && pg_same_text(name, with, w);
}

int pg_get_var(pg_vm *vm, const char *name, uint32_t n, pg_str *out)
{
  pg_slot *s = vm->slot;
  const struct builtin *b = builtin(name, n);
  pg_str *e;
  if (b)
    return get_builtin(vm, s, b, out);
  e = extra(s, name, n);
  if (e)
    return pg_given(out, e->p, e->n);
  /* a dash in the wanted name matches nothing: fields have dashes only, and
     those are spelled as underscores */
  if (begins(name, n, "http_") && !memchr(name, '-', n))
    return pg_var_field(s, PG_SIDE_REQ, name + 5, n - 5, out);
  if (begins(name, n, "arg_"))
    return pg_var_arg(s, name + 4, n - 4, out);
  if (begins(name, n, "cookie_"))
    return pg_var_cookie(s, name + 7, n - 7, out);
  if (begins(name, n, "sent_http_") && !memchr(name, '-', n))
    return pg_var_field(s, PG_SIDE_RESP, name + 10, n - 10, out);
  return trace_part(s, name, n, out);
}

/* Names of the families that nginx knows one by one: writing to them is
   answered differently from writing to an unknown name. */
static int fixed_field(const char *name, uint32_t n)
{
  static const char *const names[] = {"http_host", "http_user_agent",
    "http_referer", "http_via", "http_x_forwarded_for", "http_cookie",
    "sent_http_content_type", "sent_http_content_length",
    "sent_http_location", "sent_http_last_modified", "sent_http_connection",
    "sent_http_keep_alive", "sent_http_transfer_encoding",
    "sent_http_cache_control", "sent_http_link"};
  size_t i;
  for (i = 0; i < sizeof names / sizeof names[0]; i++)
    if (!pg_name_compare(name, n, names[i]))
      return 1;
  return 0;
}

int pg_set_var(pg_slot *s, const char *name, uint32_t n,
               const char *v, uint32_t vn, uint32_t nil)
{
  const struct builtin *b = builtin(name, n);
  pg_str *e;
  if (b && b->kind == TEXT && b->arg == PG_VAR_ARGS && b->name[0] == 'a')
    return pg_set_text(s, PG_EDIT_ARGS, 0, v, vn);
  if (b || fixed_field(name, n))
    return PG_E_FIXED;
  e = extra(s, name, n);
  if (!e)
    return PG_E_UNKNOWN;
  if (pg_core()->edit(s, PG_EDIT_VAR, nil ? 1 : 0, name, n, v, vn))
    return PG_E_MEMORY;
  if (nil) {
    e->p = NULL;
    e->n = 0;
    return 0;
  }
  return pg_arena_put(s, e, v, vn);
}
