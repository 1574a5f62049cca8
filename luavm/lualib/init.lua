-- Sets a fresh state up. Called once, with what vm.c and Go prepared:
--   vm, core, request, text, dict, limit, regex, metrics   light userdata:
--                                   the FFI structs of perigee_ffi.h
--   modules                         the other files of lualib, by name
--   contexts                        ngx.ctx by pg_slot.ctx_ref, see core.lua
--   dead                            coroutines that died in coroutine.wrap
--   log_line                        C function behind ngx.log
--   socket_object                   C function: what ngx.socket.tcp returns
--   quick_sockets                   C function: see socket_quick.c
--   adopt                           C function: a thread for a coroutine
--   pack, unpack, call              C functions: see carry.c
--   cdef, path, cpath, prefix, body_temp, regex_cache, regex_limit   strings
--   limits                          a pg_limit and its name for each limit
--   thread_pools                    names, each with a line feed behind it
--   kind                            "thread": for ngx.run_worker_thread
--
-- Each file of lualib/ngx is called with this table, P, and adds its functions
-- to P.ngx. What it needs of the standard library it takes into locals now: a
-- script may later replace any global.

-- luacheck: ignore 212/...
local P = ...

-- The only way to a __gc of one's own from Lua. The watchdog's hook does not
-- run in finalizers, so an endless one would cost the whole VM.
newproxy = nil

local ffi = require "ffi"
local rawset, setmetatable, sort = rawset, setmetatable, table.sort
local gsub, find = string.gsub, string.find

ffi.cdef(P.cdef)
P.cdef = nil

local function view(key, type)
  local p = P[key]
  P[key] = p and ffi.cast(type, p)
end

view("vm", "pg_vm *")
view("core", "const pg_core_api *")
view("request", "const pg_request_api *")
view("text", "const pg_text_api *")
view("dict", "const pg_dict_api *")
view("limit", "const pg_limit_api *")
view("regex", "const pg_regex_api *")
view("sockets", "const pg_socket_api *")
view("metrics", "const pg_metrics_api *")

-- ";;" is the default path, as in lua_package_path; no setting is all of it
local function search_path(set, default)
  if set == "" then
    return default
  end
  set = gsub(set, ";;", function() return ";" .. default .. ";" end)
  return (gsub(gsub(set, "^;+", ""), ";+$", ""))
end

package.path = search_path(P.path, package.path)
package.cpath = search_path(P.cpath, package.cpath)

local ngx = {req = {}, resp = {}}

P.ngx = ngx
ngx.worker, ngx.config = {}, {}

-- Fields of ngx that are functions of the exchange: ngx.ctx, ngx.status.
-- getters[name]() and setters[name](value); other fields are plain.
local getters, setters = {}, {}

P.getters, P.setters = getters, setters

-- "..." keeps traces from beginning here: see ngx/slot.lua.
setmetatable(ngx, {
  __index = function(_, key, ...)
    local get = getters[key]
    if get then
      return get()
    end
  end,
  __newindex = function(t, key, value, ...)
    local set = setters[key]
    if set then
      return set(value)
    end
    rawset(t, key, value)
  end,
})

-- Waiting: the host performs what vm.thread says, while other threads and
-- other exchanges run. What the op brought is in the thread when this returns.
-- vm.slot must be read again then: others ran.
local yield = coroutine.yield
local vm = P.vm
local WAIT = {}

P.WAIT = WAIT
function P.wait(op)
  vm.thread.op = op
  yield(WAIT)
end

-- First what the other files use, in this order; then the rest by name.
local first = {"ngx/slot", "ngx/core", "ngx/log", "ngx/coroutine",
  "ngx/thread", "ngx/control", "ngx/worker"}
local modules = P.modules
local rest = {}

local function load(name)
  local chunk = modules[name]
  modules[name] = nil
  if chunk then
    chunk(P)
  end
end

for i = 1, #first do
  load(first[i])
end
for name, chunk in pairs(modules) do
  if find(name, "^ngx/") then
    rest[#rest + 1] = name
  else
    -- everything outside of ngx/ is a library that scripts may require
    package.preload[gsub(name, "/", ".")] = function(...)
      return chunk(P, ...)
    end
  end
end
sort(rest)
for i = 1, #rest do
  load(rest[i])
end

_G.ngx = ngx
_G.perigee = P.perigee
package.loaded.ngx = ngx
P.offer_ffi()
require "resty.core"
if P.kind == "thread" then
  P.narrow()
end
P.guard_globals()
