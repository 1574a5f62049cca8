-- What all kinds of sockets share: settings, checks, texts of failures.
--
-- A socket object is what the script holds: timeouts, names, and s, the
-- pg_sock of its connection while it has one. s is this exchange's until it
-- is closed or kept; then the object lets go of it.
--
-- Methods count their arguments, as OpenResty's do, so they are vararg
-- functions, in which no trace begins (see slot.lua). Those that matter for
-- speed call, in a tail call, a function of fixed arguments that does the work
-- and is compiled from its beginning to its return.

-- luacheck: ignore 212/...
local P = ...

local ffi = require "ffi"
local bit = require "bit"

local C = ffi.C
local band, bor, bnot = bit.band, bit.bor, bit.bnot
local error, type, tonumber, select = error, type, tonumber, select
local getinfo = debug.getinfo
local format, lower, floor = string.format, string.lower, math.floor
local ffi_string, ffi_cast = ffi.string, ffi.cast

local vm, api, write_log = P.vm, P.sockets, P.core.log

local K = {}

P.socket = K
P.ngx.socket = {}

local ERR, CRIT = 4, 3
local OPEN, CONNECTING, READING, WRITING = C.PG_SOCK_OPEN,
  C.PG_SOCK_CONNECTING, C.PG_SOCK_READING, C.PG_SOCK_WRITING
local TIMEOUT, ABORTED = C.PG_SOCK_TIMEOUT, C.PG_SOCK_ABORTED

K.ERR, K.CRIT = ERR, CRIT

-- luaL_argerror: a method's object is not counted. depth: 2 (or none) when
-- the method itself calls, 3 for what it calls.
function K.bad_argument(i, what, depth)
  depth = depth or 2
  local info = getinfo(depth, "n")
  local name = info.name or "?"
  if info.namewhat == "method" then
    i = i - 1
    if i == 0 then
      error("calling '" .. name .. "' on bad self", depth + 1)
    end
  end
  error("bad argument #" .. i .. " to '" .. name .. "' (" .. what .. ")",
    depth + 1)
end

function K.is_number(v)
  return type(v) == "number" or type(v) == "string" and tonumber(v) ~= nil
end

function K.integer(v)
  local n = tonumber(v) or 0
  return n < 0 and -floor(-n) or floor(n)
end

function K.count(...)
  return select("#", ...)
end

function K.log(level, text)
  if vm.log_level >= level then
    write_log(vm, level, text, #text)
  end
end

-- Whether the route wants failures in the log.
function K.complains()
  return vm.slot.sockets.log_errors ~= 0
end

local errno_text = ffi.new("char[128]")

local function why(errno)
  return ffi_string(errno_text, api.why(errno, errno_text, 128))
end

-- "(111: Connection refused)"
function K.explain(errno)
  return format("(%d: %s)", errno, why(errno))
end

-- The text of an outcome below 0 of an op or call on a socket.
function K.text_of(code)
  if code == TIMEOUT then
    return "timeout"
  end
  if code == ABORTED then
    return "client aborted"
  end
  if code == C.PG_E_MEMORY then
    return "no memory"
  end
  if code > -1000 and code < 0 then
    return lower(why(-code))
  end
  return "error"
end

function K.address(s)
  return tonumber(ffi_cast("uintptr_t", s))
end

-- The exchange that runs, as a number; a slot's id alone comes again.
function K.owner(slot, ...)
  return slot.id * 4294967296 + slot.gen
end

-- Whether s belongs to the exchange that runs.
function K.is_ours(s, ...)
  local slot = vm.slot
  return s.slot_id == slot.id and s.gen == slot.gen
end

function K.is_open(s, ...)
  return s ~= nil and band(s.flags, OPEN) ~= 0
end

-- Why s cannot be used now by a thread that wants what (a mask), or nil.
function K.busy(s, what, ...)
  local flags = band(s.flags, what)
  if flags == 0 then
    return nil
  end
  if band(flags, CONNECTING) ~= 0 then
    return "socket busy connecting"
  end
  if band(flags, READING) ~= 0 then
    return "socket busy reading"
  end
  return "socket busy writing"
end

K.ANY_USE = bor(CONNECTING, READING, WRITING)

-- The use of a closed socket, as OpenResty logs it.
function K.complain_closed(u, verb)
  if not K.complains() then
    return
  end
  local s = u.s
  local at = s and K.address(s) or 0
  K.log(ERR, format("attempt to %s data on a closed socket: u:%016X, "
    .. "c:%016X, ft:0 eof:%d", verb, at, K.is_open(s) and at or 0,
    s and band(s.flags, C.PG_SOCK_EOF) ~= 0 and 1 or 0))
end

-- Waits for op on s. busy is set meanwhile.
function K.wait(s, op, busy, ms)
  local t = vm.thread
  t.op_num, t.op_num2 = ms / 1000, K.address(s)
  s.flags = bor(s.flags, busy)
  s.ops = s.ops + 1
  P.wait(op)
  s.ops = s.ops - 1
  s.flags = band(s.flags, bnot(busy))
  return t.res
end

-- A socket that Lua holds: it is closed when it is collected. A finalizer is
-- costly to set, so it stays while the connection is kept: then it waits here
-- under its handle.
local drop = api.drop
local finalize = ffi.gc
local kept = {}

function K.hold(s)
  if s == nil then
    error("no memory", 3)
  end
  return finalize(s, drop)
end

-- Closes u's connection and lets go of it.
function K.discard(u)
  local s = u.s
  u.s = nil
  if s then
    finalize(s, nil)
    drop(s)
  end
end

-- Puts u's connection away; take_back gives it to an exchange again.
function K.put_away(u, ...)
  local s = u.s
  u.s = nil
  kept[s.handle] = s
end

function K.take_back(handle, ...)
  local s = kept[handle]
  kept[handle] = nil
  return s
end

-- Pools by name; see socket_tcp_pool.lua.
K.pools = {}

-- receive, send, connect, setkeepalive where they are simple; see
-- socket_quick.c. false: not there.
local function not_mine()
  return false
end

local quick_receive, quick_send, quick_connect, quick_keep = P.quick_sockets(
  P.WAIT, kept, K.pools, P.WAITING_PHASES,
  ffi_cast("pg_sock *", nil), tonumber(ffi.typeof("pg_sock *")),
  ffi_cast("void *", nil), tonumber(ffi.typeof("void *")))

K.quick_receive, K.quick_send = quick_receive or not_mine,
  quick_send or not_mine
K.quick_connect, K.quick_keep = quick_connect or not_mine,
  quick_keep or not_mine
