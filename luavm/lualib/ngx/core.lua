-- Constants, ngx.get_phase, ngx.ctx, ngx.config, and the guard that warns of
-- writes to global variables.

local P = ...

local error, pairs, rawset, setmetatable, tostring, type = error, pairs,
  rawset, setmetatable, tostring, type
local traceback = debug.traceback
local G = _G
local ffi = require "ffi"
local C = ffi.C

local vm, ngx = P.vm, P.ngx
local log_line = P.log_line

local constants = {
  OK = 0, ERROR = -1, AGAIN = -2, DONE = -4, DECLINED = -5,

  HTTP_GET = 0x2, HTTP_HEAD = 0x4, HTTP_POST = 0x8, HTTP_PUT = 0x10,
  HTTP_DELETE = 0x20, HTTP_MKCOL = 0x40, HTTP_COPY = 0x80, HTTP_MOVE = 0x100,
  HTTP_OPTIONS = 0x200, HTTP_PROPFIND = 0x400, HTTP_PROPPATCH = 0x800,
  HTTP_LOCK = 0x1000, HTTP_UNLOCK = 0x2000, HTTP_PATCH = 0x4000,
  HTTP_TRACE = 0x8000,

  HTTP_CONTINUE = 100, HTTP_SWITCHING_PROTOCOLS = 101,
  HTTP_OK = 200, HTTP_CREATED = 201, HTTP_ACCEPTED = 202,
  HTTP_NO_CONTENT = 204, HTTP_PARTIAL_CONTENT = 206,
  HTTP_SPECIAL_RESPONSE = 300, HTTP_MOVED_PERMANENTLY = 301,
  HTTP_MOVED_TEMPORARILY = 302, HTTP_SEE_OTHER = 303,
  HTTP_NOT_MODIFIED = 304, HTTP_TEMPORARY_REDIRECT = 307,
  HTTP_PERMANENT_REDIRECT = 308,
  HTTP_BAD_REQUEST = 400, HTTP_UNAUTHORIZED = 401,
  HTTP_PAYMENT_REQUIRED = 402, HTTP_FORBIDDEN = 403, HTTP_NOT_FOUND = 404,
  HTTP_NOT_ALLOWED = 405, HTTP_NOT_ACCEPTABLE = 406,
  HTTP_REQUEST_TIMEOUT = 408, HTTP_CONFLICT = 409, HTTP_GONE = 410,
  HTTP_UPGRADE_REQUIRED = 426, HTTP_TOO_MANY_REQUESTS = 429,
  HTTP_CLOSE = 444, HTTP_ILLEGAL = 451,
  HTTP_INTERNAL_SERVER_ERROR = 500, HTTP_NOT_IMPLEMENTED = 501,
  HTTP_METHOD_NOT_IMPLEMENTED = 501, HTTP_BAD_GATEWAY = 502,
  HTTP_SERVICE_UNAVAILABLE = 503, HTTP_GATEWAY_TIMEOUT = 504,
  HTTP_VERSION_NOT_SUPPORTED = 505, HTTP_INSUFFICIENT_STORAGE = 507,
}

for name, value in pairs(constants) do
  ngx[name] = value
end

local phases = {
  [C.PG_PHASE_INIT] = "init", [C.PG_PHASE_INIT_WORKER] = "init_worker",
  [C.PG_PHASE_SET] = "set", [C.PG_PHASE_REWRITE] = "rewrite",
  [C.PG_PHASE_ACCESS] = "access", [C.PG_PHASE_CONTENT] = "content",
  [C.PG_PHASE_BALANCER] = "balancer",
  [C.PG_PHASE_HEADER_FILTER] = "header_filter",
  [C.PG_PHASE_BODY_FILTER] = "body_filter", [C.PG_PHASE_LOG] = "log",
  [C.PG_PHASE_TIMER] = "timer", [C.PG_PHASE_SSL_CERT] = "ssl_cert",
  [C.PG_PHASE_SSL_CLIENT_HELLO] = "ssl_client_hello",
  [C.PG_PHASE_SERVER_REWRITE] = "server_rewrite",
  [C.PG_PHASE_EXIT_WORKER] = "exit_worker",
}

function ngx.get_phase()
  return phases[vm.slot.phase]
end

-- ngx.ctx. An entry belongs to the exchange whose slot names its place: vm.c
-- gives that back when the exchange has ended. Places are found as in
-- resty.core.base's ref_in_table, because libraries keep tables of their own
-- here. An internal redirect leaves the entry and begins another, so that a
-- library which noted its place finds it again.
local contexts = P.contexts
-- What scripts gave for the ngx.ctx of subrequests, by pg_slot.ctx_key. Who
-- gave it holds on to it until the subrequest has ended.
local handed = setmetatable({}, {__mode = "v"})

P.handed = handed
local INIT = C.PG_PHASE_INIT

local function keep(slot, ctx)
  local ref = slot.ctx_ref
  if ref == 0 then
    ref = contexts[0]
    if ref ~= 0 then
      contexts[0] = contexts[ref]
    else
      ref = #contexts + 1
    end
    slot.ctx_ref = ref
  end
  contexts[ref] = ctx
end

-- The request goes elsewhere: ngx.ctx begins anew.
function P.leave_context(slot)
  local n = slot.ctx_left_n
  slot.ctx_key = 0
  if slot.ctx_ref == 0 then
    return
  end
  if n == 12 then
    contexts[slot.ctx_ref] = {}
    return
  end
  slot.ctx_left[n] = slot.ctx_ref
  slot.ctx_left_n = n + 1
  slot.ctx_ref = 0
end

function P.getters.ctx()
  local slot = vm.slot
  if slot.phase == INIT then
    error("no request found", 2)
  end
  local ctx = contexts[slot.ctx_ref]
  if slot.ctx_ref == 0 or not ctx then
    local key = slot.ctx_key
    slot.ctx_key = 0
    ctx = key ~= 0 and handed[key] or {}
    keep(slot, ctx)
  end
  return ctx
end

function P.setters.ctx(ctx)
  if type(ctx) ~= "table" then
    error("ctx should be a table while getting a " .. type(ctx), 2)
  end
  local slot = vm.slot
  if slot.phase == INIT then
    error("no request found", 2)
  end
  keep(slot, ctx)
end

-- where resty.core keeps them, for libraries that look there
debug.getregistry().ngx_lua_ctx_tables = contexts

-- require of what is loaded, compiled: the standard one is a C function. It
-- marks modules that are being loaded, and tells of circles.
local loaded, load_module = package.loaded, require
local mark

package.preload["mark of loading"] = function(name)
  mark = loaded[name]
end
load_module "mark of loading"
loaded["mark of loading"], package.preload["mark of loading"] = nil, nil

function G.require(name)
  local module = loaded[name]
  if module and module ~= mark then
    return module
  end
  return load_module(name)
end

local config, prefix = ngx.config, P.prefix

config.debug = false
config.is_console = false
config.subsystem = "http"
config.nginx_version = 1022001
config.ngx_lua_version = 10023

function config.prefix()
  return prefix
end

-- what of nginx's options perigee has the equivalent of
function config.nginx_configure()
  return " --with-http_ssl_module --with-http_realip_module "
    .. "--with-pcre --with-pcre-jit --with-threads"
end

-- Handlers of all exchanges share one global table, as in OpenResty, which
-- warns of each new variable made after init: it is a race between requests.
local WARN = 5
local INIT_WORKER, EXIT_WORKER = C.PG_PHASE_INIT_WORKER, C.PG_PHASE_EXIT_WORKER

local function written(t, key, value)
  rawset(t, key, value)
  local phase = vm.slot.phase
  if phase == INIT or phase == INIT_WORKER or phase == EXIT_WORKER
    or vm.log_level < WARN
  then
    return
  end
  log_line(WARN, "writing a global Lua variable ('", tostring(key),
    "') which may lead to race conditions between concurrent requests, so ",
    "prefer the use of 'local' variables", traceback("", 2))
end

function P.guard_globals()
  setmetatable(G, {__newindex = written})
end
