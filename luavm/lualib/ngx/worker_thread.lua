-- ngx.run_worker_thread: a function of a module that may block or compute for
-- long, run in a state of its own (luavm/worker_thread.go) while this one goes
-- on. Arguments and results are copied there and back.

-- luacheck: ignore 212/...
local P = ...

local ffi = require "ffi"
local C, ffi_string = ffi.C, ffi.string
local type, select, tostring = type, select, tostring
local pcall, require, package = pcall, require, package
local gmatch = string.gmatch

local vm, ngx, core = P.vm, P.ngx, P.core
local pack, unpack, call = P.pack, P.unpack, P.call
local slot_within, WAITING = P.slot_within, P.WAITING_PHASES

local pools = {}

for name in gmatch(P.thread_pools, "[^\n]+") do
  pools[name] = true
end

-- as lua_tolstring: a number counts as text
local function text_of(v)
  if type(v) == "string" then
    return v
  end
  return type(v) == "number" and tostring(v) or nil
end

function ngx.run_worker_thread(...)
  slot_within(WAITING)
  if select("#", ...) < 3 then
    return false, "expecting at least 3 arguments"
  end
  local pool, module, name = ...
  pool, module, name = text_of(pool), text_of(module), text_of(name)
  if not pool then
    return false, "threadpool should be a string"
  end
  if not pools[pool] then
    return false, "thread pool " .. pool .. " not found"
  end
  if not module then
    return false, "module name should be a string"
  end
  if not name then
    return false, "function name should be a string"
  end
  -- What is wrong with the module is told first.
  local packed, why = pack(true, module, name, select(4, ...))
  packed = packed or pack(false, module, name)
  local where = pool .. "\0" .. module .. "\0" .. package.path .. "\0"
    .. package.cpath
  local t = vm.thread
  t.op_str.p, t.op_str.n = packed, #packed
  t.op_str2.p, t.op_str2.n = where, #where
  P.wait(C.PG_OP_WORKER_THREAD)
  local data = vm.slot["in"][C.PG_IN_DATA]
  local said = data.n > 0 and ffi_string(data.p, data.n) or ""
  if t.res ~= 0 then
    return false, said
  end
  if why and unpack(said) then
    return false, why .. " in the argument"
  end
  return unpack(said)
end

-- ---- in the state of a thread ----

local function look(module, name)
  local ok, m = pcall(require, module)
  if not ok then
    return nil, tostring(m)
  end
  if type(m) ~= "table" then
    return nil, "invalid lua module"
  end
  local f = m[name]
  if type(f) ~= "function" then
    return nil, "invalid function"
  end
  return f
end

local function answer(...)
  local packed, why = pack(...)
  if not packed then
    packed = pack(false, why .. " in the return value")
  end
  if core.print(vm.slot, packed, #packed) ~= 0 then
    packed = pack(false, "no memory")
    core.print(vm.slot, packed, #packed)
  end
end

local function finish(ok, ...)
  if ok then
    return answer(true, ...)
  end
  answer(false, tostring((...)))
end

local function run(wanted, module, name, ...)
  local ok, f, why = call(look, module, name)
  if not ok then
    why = f
  end
  if not ok or not f then
    return answer(false, tostring(why))
  end
  if not wanted then
    return answer(true)
  end
  finish(call(f, ...))
end

local function handler(...)
  local data = vm.slot["in"][C.PG_IN_DATA]
  run(unpack(ffi_string(data.p, data.n)))
end

-- What OpenResty has there; the rest belongs to requests and to waiting.
local KEPT = [[encode_base64 decode_base64 encode_args decode_args
  quote_sql_str hmac_sha1 crc32_short crc32_long md5 md5_bin sha1_bin config
  shared null]]

function P.narrow()
  local kept = {}
  for name in gmatch(KEPT, "%S+") do
    kept[name] = ngx[name]
  end
  _G.ngx, _G.ndk = kept, nil
  package.loaded.ngx = kept
  P.timer_handler = handler
end
