-- What libraries over FFI find in an nginx with OpenResty, made ready when a
-- script first requires ffi: declarations of nginx's types and functions (the
-- functions are in shim/nginx_*.c), and the libraries that are linked into
-- nginx, in so far as they are installed.

local P = ...

local ffi = require "ffi"
local pcall = pcall

local declarations = [[
typedef unsigned char u_char;
typedef intptr_t ngx_int_t;
typedef uintptr_t ngx_uint_t;
typedef struct { size_t len; const unsigned char *data; } ngx_str_t;
typedef struct ngx_http_request_s ngx_http_request_t;
typedef struct { int len; const unsigned char *data; } ngx_http_lua_ffi_str_t;

void free(void *ptr);

void ngx_http_lua_ffi_md5_bin(const unsigned char *src, size_t len,
  unsigned char *dst);
void ngx_http_lua_ffi_md5(const unsigned char *src, size_t len,
  unsigned char *dst);
int ngx_http_lua_ffi_sha1_bin(const unsigned char *src, size_t len,
  unsigned char *dst);
unsigned int ngx_http_lua_ffi_crc32_short(const unsigned char *src,
  size_t len);
unsigned int ngx_http_lua_ffi_crc32_long(const unsigned char *src, size_t len);

size_t ngx_http_lua_ffi_encode_base64(const unsigned char *src, size_t len,
  unsigned char *dst, int no_padding);
int ngx_http_lua_ffi_decode_base64(const unsigned char *src, size_t len,
  unsigned char *dst, size_t *dlen);
size_t ngx_http_lua_ffi_uri_escaped_length(const unsigned char *src,
  size_t len, int type);
void ngx_http_lua_ffi_escape_uri(const unsigned char *src, size_t len,
  unsigned char *dst, int type);
size_t ngx_http_lua_ffi_unescape_uri(const unsigned char *src, size_t len,
  unsigned char *dst);
void ngx_http_lua_ffi_str_replace_char(unsigned char *buf, size_t len,
  const unsigned char find, const unsigned char replace);

double ngx_http_lua_ffi_now(void);
long ngx_http_lua_ffi_time(void);
long ngx_http_lua_ffi_monotonic_msec(void);
void ngx_http_lua_ffi_update_time(void);
void ngx_http_lua_ffi_today(unsigned char *buf);
void ngx_http_lua_ffi_localtime(unsigned char *buf);
void ngx_http_lua_ffi_utctime(unsigned char *buf);
int ngx_http_lua_ffi_cookie_time(unsigned char *buf, long t);
void ngx_http_lua_ffi_http_time(unsigned char *buf, long t);
void ngx_http_lua_ffi_parse_http_time(const unsigned char *str, size_t len,
  long *time);

int ngx_http_lua_ffi_get_phase(ngx_http_request_t *r, char **err);
int ngx_http_lua_ffi_get_ctx_ref(ngx_http_request_t *r, int *in_ssl_phase,
  int *ssl_ctx_ref);
int ngx_http_lua_ffi_get_resp_status(ngx_http_request_t *r);
int ngx_http_lua_ffi_is_subrequest(ngx_http_request_t *r);
int ngx_http_lua_ffi_headers_sent(ngx_http_request_t *r);
int ngx_http_lua_ffi_req_is_internal(ngx_http_request_t *r);
double ngx_http_lua_ffi_req_start_time(ngx_http_request_t *r);
int ngx_http_lua_ffi_var_get(ngx_http_request_t *r,
  const char *name_data, size_t name_len, char *lowcase_buf, int capture_id,
  char **value, size_t *value_len, char **err);
int ngx_http_lua_ffi_var_set(ngx_http_request_t *r,
  const unsigned char *name_data, size_t name_len, unsigned char *lowcase_buf,
  const unsigned char *value, size_t value_len, unsigned char *errbuf,
  size_t *errlen);

int ngx_http_lua_ffi_worker_id(void);
int ngx_http_lua_ffi_worker_pid(void);
int ngx_http_lua_ffi_worker_pids(int *pids, size_t *pids_len);
int ngx_http_lua_ffi_worker_count(void);
int ngx_http_lua_ffi_worker_exiting(void);
int ngx_http_lua_ffi_get_process_type(void);
int ngx_http_lua_ffi_master_pid(void);
int ngx_http_lua_ffi_raw_log(ngx_http_request_t *r, int level,
  const unsigned char *s, size_t s_len);
]]

-- A library's functions are found through ffi.C when it is loaded globally;
-- a handle keeps it loaded.
local handles = {}

local function link(...)
  for i = 1, select("#", ...) do
    local ok, handle = pcall(ffi.load, (select(i, ...)), true)
    if ok then
      handles[#handles + 1] = handle
      return
    end
  end
end

local function offer()
  ffi.cdef(declarations)
  link("libcrypto.so.3", "libcrypto.so.1.1")
  link("libssl.so.3", "libssl.so.1.1")
  return ffi
end

-- Until then the VM is spared the work.
function P.offer_ffi()
  package.preload.ffi = offer
  package.loaded.ffi = nil
end
