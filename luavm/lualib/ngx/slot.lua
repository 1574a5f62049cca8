-- What the request API shares: the slot that runs now, which phases may do
-- what, and lua_check* with the texts of the C functions they replace.
-- Loaded before the other files of the request API.
--
-- Many functions here take "..." and ignore it. LuaJIT does not count calls
-- of vararg functions as hot, so no trace begins in them; they become part of
-- the script's traces. A trace that began in a metamethod (ngx.var, ngx.header)
-- or in what it calls would be given up at its return, for metamethods return
-- into the VM.

-- luacheck: ignore 212/...
local P = ...

local ffi = require "ffi"
local bit = require "bit"

local C = ffi.C
local band, bor, lshift = bit.band, bit.bor, bit.lshift
local error, type, tostring, tonumber = error, type, tostring, tonumber
local floor, getinfo = math.floor, debug.getinfo

local vm = P.vm

-- The set of phases, as slot_within takes it.
local function mask(...)
  local m = 0
  for i = 1, select("#", ...) do
    m = bor(m, lshift(1, (select(i, ...))))
  end
  return m
end

P.phase_mask = mask

local names = {
  [C.PG_PHASE_INIT] = "init_by_lua*",
  [C.PG_PHASE_INIT_WORKER] = "init_worker_by_lua*",
  [C.PG_PHASE_SET] = "set_by_lua*",
  [C.PG_PHASE_REWRITE] = "rewrite_by_lua*",
  [C.PG_PHASE_ACCESS] = "access_by_lua*",
  [C.PG_PHASE_CONTENT] = "content_by_lua*",
  [C.PG_PHASE_BALANCER] = "balancer_by_lua*",
  [C.PG_PHASE_HEADER_FILTER] = "header_filter_by_lua*",
  [C.PG_PHASE_BODY_FILTER] = "body_filter_by_lua*",
  [C.PG_PHASE_LOG] = "log_by_lua*",
  [C.PG_PHASE_TIMER] = "ngx.timer",
  [C.PG_PHASE_SSL_CERT] = "ssl_certificate_by_lua*",
  [C.PG_PHASE_SSL_CLIENT_HELLO] = "ssl_client_hello_by_lua*",
  [C.PG_PHASE_SERVER_REWRITE] = "server_rewrite_by_lua*",
  [C.PG_PHASE_EXIT_WORKER] = "exit_worker_by_lua*",
}

P.REWRITE_PHASE = mask(C.PG_PHASE_REWRITE, C.PG_PHASE_SERVER_REWRITE)
-- where a handler can answer and wait
P.HANDLER_PHASES = mask(C.PG_PHASE_SERVER_REWRITE, C.PG_PHASE_REWRITE,
  C.PG_PHASE_ACCESS, C.PG_PHASE_CONTENT)

-- where it can wait, which may be outside of a request
P.WAITING_PHASES = mask(C.PG_PHASE_SERVER_REWRITE, C.PG_PHASE_REWRITE,
  C.PG_PHASE_ACCESS, C.PG_PHASE_CONTENT, C.PG_PHASE_TIMER, C.PG_PHASE_SSL_CERT,
  C.PG_PHASE_SSL_CLIENT_HELLO)

-- and where it can besides, if the host says so
local EXTENDED = mask(C.PG_PHASE_BALANCER, C.PG_PHASE_HEADER_FILTER,
  C.PG_PHASE_BODY_FILTER, C.PG_PHASE_LOG, C.PG_PHASE_INIT_WORKER)
local WAITING = P.WAITING_PHASES

local NO_REQUEST = mask(C.PG_PHASE_INIT)
local FAKE_REQUEST = mask(C.PG_PHASE_INIT_WORKER, C.PG_PHASE_EXIT_WORKER,
  C.PG_PHASE_TIMER, C.PG_PHASE_SSL_CERT, C.PG_PHASE_SSL_CLIENT_HELLO)
local WITHOUT = bor(NO_REQUEST, FAKE_REQUEST)

-- The slot of the request, or an error in the name of the API function that
-- asks (level 3: the script's line).
function P.slot_of_request(...)
  local s = vm.slot
  if s == nil then
    error("no request found", 3)
  end
  local phase = lshift(1, s.phase)
  if band(phase, WITHOUT) ~= 0 then
    if band(phase, NO_REQUEST) ~= 0 then
      error("no request found", 3)
    end
    error("API disabled in the current context", 3)
  end
  return s
end

local function is_extended(s, phases)
  return phases == WAITING and band(s.flags, C.PG_F_WAITS) ~= 0
    and band(lshift(1, s.phase), EXTENDED) ~= 0
end

local fill = P.request.fill
local REQUEST = C.PG_PART_REQUEST

-- A variable of the slot, as the host has or may now fill it in. Not for those
-- named upstream_.
function P.variable(s, index, ...)
  if s.unfilled ~= 0 and fill(s, REQUEST) ~= 0 then
    error("no memory", 3)
  end
  return s.vars[index]
end

-- The slot, if its phase is one of the mask's. For functions that nginx
-- disables by phase; the text then names the phase.
function P.slot_within(phases, ...)
  local s = vm.slot
  if s == nil then
    error("no request found", 3)
  end
  if band(lshift(1, s.phase), phases) == 0 and not is_extended(s, phases) then
    if s.phase == C.PG_PHASE_INIT then
      error("no request found", 3)
    end
    error("API disabled in the context of " .. names[s.phase], 3)
  end
  return s
end

-- Why the running handler cannot wait, or nil.
function P.cannot_wait(s, ...)
  if band(lshift(1, s.phase), WAITING) == 0 and not is_extended(s, WAITING)
  then
    return "API disabled in the context of " .. names[s.phase]
  end
end

function P.within(s, phases, level, ...)
  if band(lshift(1, s.phase), phases) == 0 then
    error("API disabled in the context of " .. names[s.phase], level + 1)
  end
end

local SENT = bor(C.PG_F_HEADERS_SENT, C.PG_F_COMMITTED)

-- Whether the head of the answer is out of the script's hands. The header
-- filter runs while the head is on its way.
function P.is_sent(s, ...)
  return band(s.flags, SENT) ~= 0 and s.phase ~= C.PG_PHASE_HEADER_FILTER
end

-- Ends the run as ngx.exit does; does not return.
function P.leave(s, code)
  s.exit_code = code
  s.has_exit = 1
  return P.wait(C.PG_OP_LEAVE)
end

local function type_name(v)
  if v == nil then
    return "nil"
  end
  return type(v)
end

P.type_name = type_name

-- luaL_argerror: names the function as the script called it, "?" through
-- pcall. depth: 2 for the caller of argument_error, 3 for the caller's caller.
local function argument_error(i, what, depth)
  local name = getinfo(depth, "n").name or "?"
  error("bad argument #" .. i .. " to '" .. name .. "' (" .. what .. ")",
    depth + 1)
end

P.argument_error = argument_error

function P.check_string(v, i)
  if type(v) == "string" then
    return v
  end
  if type(v) == "number" then
    return tostring(v)
  end
  argument_error(i, "string expected, got " .. type_name(v), 3)
end

function P.check_number(v, i)
  local n = tonumber(v)
  if n and type(v) ~= "cdata" then
    return n
  end
  argument_error(i, "number expected, got " .. type_name(v), 3)
end

function P.check_integer(v, i)
  local n = tonumber(v)
  if n and type(v) ~= "cdata" then
    return n < 0 and -floor(-n) or floor(n)
  end
  argument_error(i, "number expected, got " .. type_name(v), 3)
end

function P.check_boolean(v, i)
  if type(v) == "boolean" then
    return v
  end
  argument_error(i, "boolean expected, got " .. type_name(v), 3)
end
