-- Pools by name, and what touches them: setkeepalive, getreusedtimes. What is
-- in a pool, who waits for it: see socket_pool.c.

-- luacheck: ignore 212/...
local P = ...

local ffi = require "ffi"
local bit = require "bit"

local C = ffi.C
local band, bor = bit.band, bit.bor
local error, type, select, pairs, tostring = error, type, select, pairs,
  tostring
local ffi_new = ffi.new

local K, api, vm = P.socket, P.sockets, P.vm
local tcp, quick_keep = K.tcp_methods, K.quick_keep
local OPEN, EOF = C.PG_SOCK_OPEN, C.PG_SOCK_EOF
local SHUT = bor(C.PG_SOCK_READ_SHUT, C.PG_SOCK_WRITE_SHUT)
local KEEPABLE = bor(OPEN, EOF, SHUT, K.ANY_USE) -- of these, only OPEN

local pools, pools_n, purge_at = K.pools, 0, 64

-- Forgets pools without connections once there are many: names may be made up
-- by scripts without end.
local function purge()
  local left = 0
  for key, pool in pairs(pools) do
    if pool.count <= 0 and pool.refs == 0 then
      pools[key] = nil
    else
      left = left + 1
    end
  end
  pools_n, purge_at = left, left * 2 > 64 and left * 2 or 64
end

local function new_pool(key, size, backlog)
  if not pools[key] then
    if pools_n >= purge_at then
      purge()
    end
    pools_n = pools_n + 1
  end
  local pool = ffi_new("pg_pool")
  pool.size, pool.backlog = size, backlog
  pools[key] = pool
  return pool
end

-- The pool of that name, made if the script says how large it is to be; a pool
-- ends with its last connection.
function K.pool_of(key, size, backlog, ...)
  local pool = pools[key]
  if pool and pool.count > 0 then
    return pool
  end
  if size then
    return new_pool(key, size, backlog)
  end
end

function tcp.getreusedtimes(...)
  local n = select("#", ...)
  if n ~= 1 then
    error("expecting 1 argument (including the object), but got " .. n, 2)
  end
  local u = ...
  local s = u.s
  if not K.usable(s) then
    return nil, "closed"
  end
  return s.reused
end

-- Has anything come since the last read? Not if no thread waited meanwhile.
local function stir(s, ...)
  if s.read_at == K.moment(vm.thread) then
    return C.PG_QUIET
  end
  return api.stir(s)
end

local function integer_argument(v, i)
  if not K.is_number(v) then
    K.bad_argument(i, "number expected, got " .. P.type_name(v), 3)
  end
  return K.integer(v)
end

local function new_kept_pool(u, size, n)
  if size == nil then
    size = vm.slot.sockets.pool_size
  end
  if size <= 0 then
    K.bad_argument(n, "bad \"pool_size\" option value: " .. size, 3)
  end
  return new_pool(u.key, size, -1)
end

-- ms, size: numbers, or nil for the route's.
local function keep(u, ms, size, n)
  local s = u.s
  if not s or band(s.flags, KEEPABLE) ~= OPEN then
    local busy = s and band(s.flags, bor(OPEN, SHUT, EOF)) == OPEN
      and K.is_ours(s) and K.busy(s, K.ANY_USE)
    return nil, busy or "closed"
  end
  if not K.is_ours(s) then
    error("bad request", 2)
  end
  if ms == nil then
    ms = vm.slot.sockets.keepalive_ms
  end
  local stirred = stir(s)
  if stirred == C.PG_LEFT then
    return nil, "closed"
  end
  if s.fill ~= s.pos then
    return nil, "unread data in buffer"
  end
  local pool = K.pool_of(u.key) or new_kept_pool(u, size, n)
  if stirred ~= C.PG_QUIET then
    K.discard(u)
    return nil, "connection in dubious state"
  end
  if vm.exiting ~= 0 then
    K.discard(u)
    return 1
  end
  K.put_away(u)
  api.keep(s, pool, ms)
  return 1
end

local function keep_slowly(...)
  local n = select("#", ...)
  if n < 1 or n > 3 then
    error("expecting 1 to 3 arguments (including the object), but got " .. n,
      2)
  end
  local u, ms, size = ...
  if type(u) ~= "table" then
    K.bad_argument(1, "table expected, got " .. P.type_name(u))
  end
  if ms ~= nil and type(ms) ~= "number" then
    ms = integer_argument(ms, 2)
  end
  if size ~= nil and type(size) ~= "number" then
    size = integer_argument(size, 3)
  end
  return keep(u, ms, size, n)
end

function tcp.setkeepalive(...)
  if quick_keep(...) then
    return 1
  end
  return keep_slowly(...)
end

-- ---- options ----

local options = {
  keepalive = 1, reuseaddr = 2, ["tcp-nodelay"] = 3, sndbuf = 4, rcvbuf = 5,
  keepintvl = 6, keepcnt = 7,
}
local value_of = ffi_new("int32_t[1]")

local function option(u, name, value, set)
  local s = u.s
  if not s and not u.owner then
    error("socket is never created nor connected", 3)
  end
  local which = options[name]
  if not which then
    return nil, "unsupported option " .. tostring(name)
  end
  if not K.usable(s) then
    return nil, "closed"
  end
  value_of[0] = value
  local rc = api.option(s, which, value_of, set)
  if rc ~= 0 then
    return nil, K.text_of(rc)
  end
  return value_of[0]
end

function K.getoption(u, name)
  if name == nil then
    return nil, "missing the \"option\" argument"
  end
  return option(u, name, 0, 0)
end

function K.setoption(u, name, value)
  if name == nil then
    return nil, "missing the \"option\" argument"
  end
  if value == nil then
    return nil, "missing the \"value\" argument"
  end
  local got, err = option(u, name, value, 1)
  if not got then
    return nil, err
  end
  return true
end

function K.getfd(u)
  local s = u and u.s
  if not K.usable(s) then
    return nil, "closed"
  end
  return s.fd
end

tcp.getoption, tcp.setoption, tcp.getfd = K.getoption, K.setoption, K.getfd
