-- ngx.shared.DICT. The dictionaries are C memory that all VMs share
-- (shim/shdict.h); here is what OpenResty's API looks like over them.

local P = ...

local ffi = require "ffi"

local C = ffi.C
local ffi_new, ffi_string, istype = ffi.new, ffi.string, ffi.istype
local error, type, tostring, tonumber = error, type, tostring, tonumber

local vm = P.vm
local dict = P.dict
local c_get, c_store, c_incr, c_ttl, c_expire = dict.get, dict.store,
  dict.incr, dict.ttl, dict.expire
local c_flush_all, c_capacity, c_free_space = dict.flush_all, dict.capacity,
  dict.free_space

local zone_type = ffi.typeof("pg_shdict *")

local NIL, BOOL, NUMBER, STRING = C.PG_DICT_NIL, C.PG_DICT_BOOL,
  C.PG_DICT_NUMBER, C.PG_DICT_STRING
local ADD, REPLACE, SAFE = C.PG_DICT_ADD, C.PG_DICT_REPLACE, C.PG_DICT_SAFE
local GROW = C.PG_DICT_GROW

local texts = {                     -- by the answer with its sign turned
  [-C.PG_DICT_NOT_FOUND] = "not found",
  [-C.PG_DICT_EXISTS] = "exists",
  [-C.PG_DICT_NO_MEMORY] = "no memory",
  [-C.PG_DICT_NOT_NUMBER] = "not a number",
  [-C.PG_DICT_NOT_LIST] = "value not a list",
  [-C.PG_DICT_IS_LIST] = "value is a list",
  [-C.PG_DICT_NO_LIST_ROOM] = "no memory",
}

-- One record for all calls of this VM: a call is never interrupted by
-- another. Long strings get a buffer of their own for the one call.
local SMALL = 16384
local small = ffi_new("char[?]", SMALL)
local io = ffi_new("pg_dict_io")
io.buf, io.cap = small, SMALL
local large

local function grow()
  local size = io.need
  if size > 0x7fffff00 then
    error("no memory", 3)
  end
  large = ffi_new("char[?]", size)
  io.buf, io.cap = large, size
end

local function shrink()
  if large then
    large = nil
    io.buf, io.cap = small, SMALL
  end
end

local function take_string()
  local s = ffi_string(io.buf, io.len)
  shrink()
  return s
end

local function zone_of(t)
  local zone
  if type(t) == "table" then
    zone = t[2]
  end
  if not istype(zone_type, zone) then
    error('bad "zone" argument', 3)
  end
  return zone
end

-- The key as a string, or nil and what is wrong with it.
local function key_of(key)
  if type(key) ~= "string" then
    if key == nil then
      return nil, "nil key"
    end
    key = tostring(key)
  end
  local n = #key
  if n == 0 then
    return nil, "empty key"
  end
  if n > 65535 then
    return nil, "key too long"
  end
  return key
end

local methods = {}

local function read(zone, key, stale)
  local rc = c_get(vm, zone, key, #key, stale, io)
  while rc == GROW do
    grow()
    rc = c_get(vm, zone, key, #key, stale, io)
  end
  return rc
end

local function value()
  local t = io.type
  if t == NUMBER then
    return io.num
  elseif t == STRING then
    return take_string()
  end
  return io.num ~= 0
end

function methods.get(zone, key)
  zone = zone_of(zone)
  local err
  key, err = key_of(key)
  if err then
    return nil, err
  end
  local rc = read(zone, key, 0)
  if rc ~= 0 then
    return nil, texts[-rc]
  end
  if io.type == NIL then
    return nil
  end
  local flags = io.flags
  if flags ~= 0 then
    return value(), flags
  end
  return (value())
end

function methods.get_stale(zone, key)
  zone = zone_of(zone)
  local err
  key, err = key_of(key)
  if err then
    return nil, err
  end
  local rc = read(zone, key, 1)
  if rc ~= 0 then
    return nil, texts[-rc]
  end
  if io.type == NIL then
    return nil
  end
  local flags, stale = io.flags, io.stale ~= 0
  if flags ~= 0 then
    return value(), flags, stale
  end
  return value(), nil, stale
end

-- Callers are tail calls, so that level 2 is the script's line.
local function store(zone, op, key, v, exptime, flags)
  zone = zone_of(zone)
  if not exptime then
    exptime = 0
  elseif exptime < 0 then
    error('bad "exptime" argument', 2)
  end
  local err
  key, err = key_of(key)
  if err then
    return nil, err
  end
  local t, n = type(v), 0
  local str
  if t == "string" then
    io.type, str, n = STRING, v, #v
  elseif t == "number" then
    io.type, io.num = NUMBER, v
  elseif t == "boolean" then
    io.type, io.num = BOOL, v and 1 or 0
  elseif v ~= nil then
    return nil, "bad value type"
  elseif op ~= 0 and op ~= SAFE then
    return false, "attempt to add or replace nil values", false
  else
    io.type = NIL
  end
  io.flags = flags or 0
  local rc = c_store(vm, zone, key, #key, op, str, n, exptime * 1000, io)
  if rc == 0 then
    return true, nil, io.forcible ~= 0
  end
  return false, texts[-rc], io.forcible ~= 0
end

function methods.set(zone, key, v, exptime, flags)
  return store(zone, 0, key, v, exptime, flags)
end

function methods.safe_set(zone, key, v, exptime, flags)
  return store(zone, SAFE, key, v, exptime, flags)
end

function methods.add(zone, key, v, exptime, flags)
  return store(zone, ADD, key, v, exptime, flags)
end

function methods.safe_add(zone, key, v, exptime, flags)
  return store(zone, ADD + SAFE, key, v, exptime, flags)
end

function methods.replace(zone, key, v, exptime, flags)
  return store(zone, REPLACE, key, v, exptime, flags)
end

function methods.delete(zone, key)
  return store(zone, 0, key, nil)
end

-- A number given as something else; name is nil for the delta, whose error
-- is the FFI's in OpenResty.
local function number_of(v, name)
  local n = tonumber(v)
  if not n then
    if not name then
      error("cannot convert 'nil' to 'double'", 3)
    end
    error("bad " .. name .. " arg: number expected, got " .. type(v), 3)
  end
  return n
end

function methods.incr(zone, key, delta, init, init_ttl)
  zone = zone_of(zone)
  local err
  key, err = key_of(key)
  if err then
    return nil, err
  end
  if type(delta) ~= "number" then
    delta = number_of(delta)
  end
  if init and type(init) ~= "number" then
    init = number_of(init, "init")
  end
  if init_ttl == nil then
    init_ttl = 0
  else
    if type(init_ttl) ~= "number" then
      init_ttl = number_of(init_ttl, "init_ttl")
    end
    if init_ttl < 0 then
      error('bad "init_ttl" argument', 2)
    end
    if not init then
      error('must provide "init" when providing "init_ttl"', 2)
    end
  end
  local rc
  if init then
    rc = c_incr(vm, zone, key, #key, 1, delta, init, init_ttl * 1000, io)
    if rc == 0 then
      return io.num, nil, io.forcible ~= 0
    end
  else
    rc = c_incr(vm, zone, key, #key, 0, delta, 0, 0, io)
    if rc == 0 then
      return io.num
    end
  end
  return nil, texts[-rc]
end

function methods.ttl(zone, key)
  zone = zone_of(zone)
  local err
  key, err = key_of(key)
  if err then
    return nil, err
  end
  if c_ttl(vm, zone, key, #key, io) ~= 0 then
    return nil, "not found"
  end
  return io.num / 1000
end

function methods.expire(zone, key, exptime)
  zone = zone_of(zone)
  if not exptime then
    error('bad "exptime" argument', 2)
  end
  local err
  key, err = key_of(key)
  if err then
    return nil, err
  end
  if c_expire(vm, zone, key, #key, exptime * 1000) ~= 0 then
    return nil, "not found"
  end
  return true
end

function methods.flush_all(zone)
  c_flush_all(vm, (zone_of(zone)))
end

function methods.capacity(zone)
  return c_capacity((zone_of(zone)))
end

function methods.free_space(zone)
  return c_free_space(vm, (zone_of(zone)))
end

methods.__index = methods

-- for shdict_list.lua
P.shdict = {
  methods = methods, io = io, texts = texts, zone_type = zone_type,
  zone_of = zone_of, key_of = key_of, value = value, grow = grow,
  shrink = shrink,
}

local shared = {}

-- [1] is userdata, as OpenResty's is; [2] is what the functions above use.
for name, p in pairs(P.dicts) do
  shared[name] = setmetatable({p, ffi.cast(zone_type, p)}, methods)
end

P.ngx.shared = shared
