-- ngx.shared.DICT: lists, get_keys and flush_expired. They are C functions in
-- OpenResty, so they count their arguments, and their texts are luaL_check*'s.

local P = ...

local ffi = require "ffi"
local new_tab = require "table.new"

local C = ffi.C
local cast, ffi_string, istype = ffi.cast, ffi.string, ffi.istype
local error, type, tonumber, select = error, type, tonumber, select
local getinfo = debug.getinfo

local vm = P.vm
local dict = P.dict
local c_push, c_pop, c_llen = dict.push, dict.pop, dict.llen
local c_keys, c_flush_expired = dict.keys, dict.flush_expired

local S = P.shdict
local methods, io, texts = S.methods, S.io, S.texts
local zone_type, zone_of, key_of = S.zone_type, S.zone_of, S.key_of
local value, grow, shrink = S.value, S.grow, S.shrink

local length_type = ffi.typeof("const uint16_t *")

local NUMBER, STRING = C.PG_DICT_NUMBER, C.PG_DICT_STRING
local GROW, NOT_FOUND, NO_LIST_ROOM = C.PG_DICT_GROW, C.PG_DICT_NOT_FOUND,
  C.PG_DICT_NO_LIST_ROOM

-- luaL_argerror's text, which tells functions by the name they were called
-- by and does not count a method's self. depth: of the API function.
local function bad_argument(i, what, depth)
  local info = getinfo(depth, "n")
  local name = info.name or "?"
  if info.namewhat == "method" then
    i = i - 1
  end
  if i == 0 then
    error("calling '" .. name .. "' on bad self (" .. what .. ")", depth + 1)
  end
  error("bad argument #" .. i .. " to '" .. name .. "' (" .. what .. ")",
    depth + 1)
end

local function check_type(t)
  if type(t) ~= "table" then
    bad_argument(1, "table expected, got " .. type(t), 3)
  end
  if not istype(zone_type, t[2]) then
    error("bad user data for the ngx_shm_zone_t pointer", 3)
  end
  return t[2]
end

-- max of get_keys(max) and flush_expired(max); 0 is all.
local function limit_of(default, n, max)
  if n ~= 1 and n ~= 2 then
    error("expecting 1 or 2 argument(s), but saw " .. n, 3)
  end
  if n == 1 then
    return default
  end
  local number = tonumber(max)
  if not number then
    bad_argument(2, "number expected, got " .. type(max), 3)
  end
  return number > 0 and number < 4294967296 and number or 0
end

function methods.get_keys(...)
  local n = select("#", ...)
  local t, max = ...
  local zone
  if n == 1 or n == 2 then
    zone = check_type(t)
  end
  max = limit_of(1024, n, max)
  local rc = c_keys(vm, zone, max, io)
  while rc == GROW do
    grow()
    rc = c_keys(vm, zone, max, io)
  end
  n = io.num
  local keys = new_tab(n, 0)
  local p = io.buf
  for i = 1, n do
    local len = cast(length_type, p)[0]
    keys[i] = ffi_string(p + 2, len)
    p = p + 2 + len
  end
  shrink()
  return keys
end

function methods.flush_expired(...)
  local n = select("#", ...)
  local t, max = ...
  local zone
  if n == 1 or n == 2 then
    zone = check_type(t)
  end
  return c_flush_expired(vm, zone, limit_of(0, n, max))
end

-- depth: of the API function, seen from bad_argument
local function list_key(key, depth)
  local t = type(key)
  if t ~= "string" then
    if key == nil then
      return nil, "nil key"
    elseif t ~= "number" then
      bad_argument(2, "string expected, got " .. t, depth)
    end
  end
  return key_of(key)
end

local function push(left, ...)
  local n = select("#", ...)
  if n ~= 3 then
    error("expecting 3 arguments, but only seen " .. n, 2)
  end
  local zone, key, v = ...
  zone = zone_of(zone)
  local err
  key, err = list_key(key, 3)
  if err then
    return nil, err
  end
  local t = type(v)
  local str
  n = 0
  if t == "string" then
    io.type, str, n = STRING, v, #v
  elseif t == "number" then
    io.type, io.num = NUMBER, v
  else
    return nil, "bad value type"
  end
  local rc = c_push(vm, zone, key, #key, left, str, n, io)
  if rc == 0 then
    return io.num
  elseif rc == NO_LIST_ROOM then
    return false, "no memory"
  end
  return nil, texts[-rc]
end

function methods.lpush(...)
  return push(1, ...)
end

function methods.rpush(...)
  return push(0, ...)
end

-- zone and key of a function with these two arguments, or nil, nil, error
local function two(...)
  local n = select("#", ...)
  if n ~= 2 then
    error("expecting 2 arguments, but only seen " .. n, 3)
  end
  local zone, key = ...
  if type(zone) ~= "table" or not istype(zone_type, zone[2]) then
    error('bad "zone" argument', 3)
  end
  local err
  key, err = list_key(key, 4)
  return zone[2], key, err
end

local function pop(left, ...)
  local zone, key, err = two(...)
  if err then
    return nil, err
  end
  local rc = c_pop(vm, zone, key, #key, left, io)
  while rc == GROW do
    grow()
    rc = c_pop(vm, zone, key, #key, left, io)
  end
  if rc == NOT_FOUND then
    return nil
  elseif rc ~= 0 then
    return nil, texts[-rc]
  end
  return (value())
end

function methods.lpop(...)
  return pop(1, ...)
end

function methods.rpop(...)
  return pop(0, ...)
end

function methods.llen(...)
  local zone, key, err = two(...)
  if err then
    return nil, err
  end
  local rc = c_llen(vm, zone, key, #key, io)
  if rc == NOT_FOUND then
    return 0
  elseif rc ~= 0 then
    return nil, texts[-rc]
  end
  return io.num
end
