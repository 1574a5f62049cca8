-- perigee.limit(name, key, cost): asks a limit of the configuration's
-- rate_limits for cost (1) from a key's allowance, and charges it if it is
-- there. It decides in memory that Go and all VMs share, without leaving Lua;
-- a limit that instances share in Redis waits for their store, so it can be
-- asked only where a script can wait.
--
-- Returns true, what remains, and the seconds to wait before going on (0
-- without delay); or false, what remains, and the seconds until it would
-- pass, nil if never. What remains is nil where a store that does not answer
-- is passed over.
--
-- A limit of a route that has the same name and one part in its key counts
-- the same keys.

local P = ...

local ffi = require "ffi"

local ffi_copy, ffi_new = ffi.copy, ffi.new
local error, tonumber, tostring, type = error, tonumber, tostring, type
local char, floor, sub = string.char, math.floor, string.sub

local C = ffi.C
local vm, wait, slot_within = P.vm, P.wait, P.slot_within
local WAITING, STORE, OP_LIMIT, IN_DATA = P.WAITING_PHASES,
  C.PG_LIMIT_STORE, C.PG_OP_LIMIT, C.PG_IN_DATA
local c_take = P.limit.take

local limits = {}

do
  local text, at = P.limits, 1
  local size = ffi.sizeof("pg_limit")
  while at <= #text do
    local limit = ffi_new("pg_limit")
    ffi_copy(limit, sub(text, at, at + size - 1), size)
    at = at + size
    limits[sub(text, at, at + limit.name_len - 1)] = limit
    at = at + limit.name_len
  end
  P.limits = nil
end

local SMALL = 127
local buf = ffi_new("char[?]", SMALL + 1)
local out = ffi_new("pg_limit_out")
local OUT_SIZE = ffi.sizeof(out)

-- A key as filters write it: its length, seven bits a byte, then itself.
local function long(key)
  local n, head = #key, ""
  while n > 127 do
    head = head .. char(n % 128 + 128)
    n = floor(n / 128)
  end
  return head .. char(n) .. key
end

-- Asks the store of a limit. Others run meanwhile, and use out.
local function ask(l, key, cost)
  local t = vm.thread
  t.op_int, t.op_num = l.cls, cost
  t.op_str.p, t.op_str.n = key, #key
  wait(OP_LIMIT)
  local data = vm.slot["in"][IN_DATA]
  if data.n < OUT_SIZE then
    error("the store of the limit could not be asked", 3)
  end
  ffi_copy(out, data.p, OUT_SIZE)
  return t.res
end

local function limit(name, key, cost)
  local l = limits[name]
  if not l then
    error('there is no limit "' .. tostring(name) .. '" in rate_limits', 2)
  end
  if type(key) ~= "string" then
    if type(key) ~= "number" then
      error("bad argument #2 to 'limit' (string expected, got "
        .. (key == nil and "nil" or type(key)) .. ")", 2)
    end
    key = tostring(key)
  end
  if cost == nil then
    cost = 1
  else
    cost = tonumber(cost)
    if not cost or cost < 0 or cost ~= floor(cost) then
      error("bad argument #3 to 'limit' (whole number expected)", 2)
    end
  end
  local n = #key
  local allowed
  if l.kind == STORE then
    slot_within(WAITING)
    allowed = ask(l, n <= SMALL and char(n) .. key or long(key), cost)
  elseif n <= SMALL then
    buf[0] = n
    ffi_copy(buf + 1, key, n)
    allowed = c_take(l, buf, n + 1, cost, 0, out)
  else
    key = long(key)
    allowed = c_take(l, key, #key, cost, 0, out)
  end
  local left = out.remaining
  if left < 0 then
    left = nil
  end
  if allowed == 1 then
    return true, left, out.wait / 1e9
  end
  if out.wait < 0 then
    return false, left
  end
  return false, left, out.wait / 1e9
end

P.perigee = {limit = limit}
