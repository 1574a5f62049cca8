//go:build cgo && luajit

/*
 * nginx_request.c: what libraries ask about the request and the worker under
 * the names of OpenResty's module. See nginx_core.c. r is what
 * resty.core.base's get_request() gave: the slot that runs.
 */
#include "nginx.h"
#include "request.h"

#include <string.h>
#include <unistd.h>

/* ---- the request ---- */

/* OpenResty's number of a phase, one bit each, by PG_PHASE_*. */
static const int contexts[] = {
    [PG_PHASE_SET] = 0x1,           [PG_PHASE_REWRITE] = 0x2,
    [PG_PHASE_ACCESS] = 0x4,        [PG_PHASE_CONTENT] = 0x8,
    [PG_PHASE_LOG] = 0x10,          [PG_PHASE_HEADER_FILTER] = 0x20,
    [PG_PHASE_BODY_FILTER] = 0x40,  [PG_PHASE_TIMER] = 0x80,
    [PG_PHASE_INIT_WORKER] = 0x100, [PG_PHASE_BALANCER] = 0x200,
    [PG_PHASE_SSL_CERT] = 0x400,    [PG_PHASE_SSL_CLIENT_HELLO] = 0x4000,
    [PG_PHASE_SERVER_REWRITE] = 0x8000, [PG_PHASE_EXIT_WORKER] = 0x2000};

int ngx_http_lua_ffi_get_phase(ngx_http_request_t *r, char **err) {
  if (r && r->phase < sizeof contexts / sizeof *contexts &&
      contexts[r->phase])
    return contexts[r->phase];
  *err = "no request context";
  return NGX_ERROR;
}

/* Where ngx.ctx is in the registry's ngx_lua_ctx_tables once it was used. */
int ngx_http_lua_ffi_get_ctx_ref(ngx_http_request_t *r, int *in_ssl_phase,
                                 int *ssl_ctx_ref) {
  if (in_ssl_phase) {
    *in_ssl_phase = 0;
    *ssl_ctx_ref = LUA_NOREF;
  }
  if (!r) return NO_REQ_CTX;
  return r->ctx_ref ? (int)r->ctx_ref : LUA_NOREF;
}

static int without_request(const pg_slot *r) {
  return !r || r->phase == PG_PHASE_INIT || r->phase == PG_PHASE_TIMER ||
         r->phase == PG_PHASE_INIT_WORKER || r->phase == PG_PHASE_EXIT_WORKER;
}

int ngx_http_lua_ffi_get_resp_status(ngx_http_request_t *r) {
  return without_request(r) ? BAD_CONTEXT : r->status;
}

int ngx_http_lua_ffi_is_subrequest(ngx_http_request_t *r) {
  return without_request(r) ? BAD_CONTEXT
                            : (r->flags & PG_F_SUBREQUEST) != 0;
}

int ngx_http_lua_ffi_req_is_internal(ngx_http_request_t *r) {
  return without_request(r) ? BAD_CONTEXT : (r->flags & PG_F_INTERNAL) != 0;
}

int ngx_http_lua_ffi_headers_sent(ngx_http_request_t *r) {
  return without_request(r) ? BAD_CONTEXT
                            : (r->flags & PG_F_HEADERS_SENT) != 0;
}

double ngx_http_lua_ffi_req_start_time(ngx_http_request_t *r) {
  return r->start_time;
}

/* ---- variables ---- */

/*
 * name NULL: the capture of that number. lowcase_buf is nginx's scratch
 * memory. The value is valid until the next call of the request API.
 */
int ngx_http_lua_ffi_var_get(ngx_http_request_t *r, const u_char *name,
                             size_t n, u_char *lowcase_buf, int capture,
                             const u_char **value, size_t *value_n,
                             char **err) {
  pg_state *v = pg_inside();
  char digits[12];
  pg_str out;
  (void)lowcase_buf;
  if (!r || !v || without_request(r)) {
    *err = r ? "API disabled in the current context"
             : "no request object found";
    return NGX_ERROR;
  }
  if (!name) {
    if (capture <= 0) return NGX_DECLINED;
    n = (size_t)snprintf(digits, sizeof digits, "%d", capture);
    name = (const u_char *)digits;
  }
  switch (pg_get_var(&v->vm, (const char *)name, (uint32_t)n, &out)) {
  case 1:
    *value = (const u_char *)out.p;
    *value_n = out.n;
    return NGX_OK;
  case PG_E_MEMORY:
    *err = "no memory";
    return NGX_ERROR;
  }
  return NGX_DECLINED;
}

static int refused(u_char *err, size_t *err_n, const char *text,
                   const u_char *name, size_t n) {
  int len = snprintf((char *)err, *err_n, text, (int)n, (const char *)name,
                     (int)n, (const char *)name);
  if (len >= 0 && (size_t)len < *err_n) *err_n = (size_t)len;
  return NGX_ERROR;
}

int ngx_http_lua_ffi_var_set(ngx_http_request_t *r, const u_char *name,
                             size_t n, u_char *lowcase_buf,
                             const u_char *value, size_t value_n, u_char *err,
                             size_t *err_n) {
  size_t i;
  if (without_request(r))
    return refused(err, err_n, "API disabled in the current context", NULL, 0);
  for (i = 0; i < n; i++) lowcase_buf[i] = pg_lower(name[i]);
  switch (pg_set_var(r, (const char *)name, (uint32_t)n, (const char *)value,
                     (uint32_t)value_n, value == NULL)) {
  case NGX_OK:
    return NGX_OK;
  case PG_E_MEMORY:
    return refused(err, err_n, "no memory", NULL, 0);
  case PG_E_FIXED:
    return refused(err, err_n, "variable \"%.*s\" not changeable",
                   lowcase_buf, n);
  }
  return refused(err, err_n,
                 "variable \"%.*s\" not found for writing; maybe it is a "
                 "built-in variable that is not changeable or you forgot to "
                 "use \"set $%.*s '';\" in the config file to define it first",
                 lowcase_buf, n);
}

/* ---- the worker ---- */

int ngx_http_lua_ffi_worker_id(void) {
  pg_state *v = pg_inside();
  return v ? v->vm.worker_id : -1;
}

int ngx_http_lua_ffi_worker_count(void) {
  pg_state *v = pg_inside();
  return v ? v->vm.worker_count : 0;
}

int ngx_http_lua_ffi_worker_exiting(void) {
  pg_state *v = pg_inside();
  return v && v->vm.exiting;
}

int ngx_http_lua_ffi_worker_pid(void) { return getpid(); }
int ngx_http_lua_ffi_master_pid(void) { return getpid(); }

/* pids has room for 1024, of which *n are given. */
int ngx_http_lua_ffi_worker_pids(int *pids, size_t *n) {
  size_t i, count = (size_t)ngx_http_lua_ffi_worker_count();
  *n = count < 1024 ? count : 1024;
  for (i = 0; i < *n; i++) pids[i] = getpid();
  return NGX_OK;
}

enum { PROCESS_SINGLE = 0, PROCESS_MASTER = 1, PROCESS_WORKER = 3 };

/* All are one process; init runs where nginx would have its master. */
int ngx_http_lua_ffi_get_process_type(void) {
  pg_state *v = pg_inside();
  if (!v) return PROCESS_SINGLE;
  return v->vm.slot->phase == PG_PHASE_INIT ? PROCESS_MASTER : PROCESS_WORKER;
}

int ngx_http_lua_ffi_raw_log(ngx_http_request_t *r, int level,
                             const u_char *s, size_t n) {
  pg_state *v = pg_inside();
  (void)r;
  if (!v || level < 0 || level > 8) return NGX_ERROR;
  if (level <= v->vm.log_level) pg_line_add(v, level, (const char *)s, n);
  return NGX_OK;
}
