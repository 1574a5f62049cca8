-- ngx.exit, exec, on_abort and sleep.

local P = ...

local error, tonumber, tostring, type, select, pcall = error, tonumber,
  tostring, type, select, pcall
local format = string.format
local ffi = require "ffi"
local bit = require "bit"
local band, bor = bit.band, bit.bor
local C = ffi.C

local vm, ngx = P.vm, P.ngx
local wait = P.wait
local slot_within, is_sent = P.slot_within, P.is_sent

local HEADER_FILTER, BALANCER = C.PG_PHASE_HEADER_FILTER, C.PG_PHASE_BALANCER
local WAITING = P.WAITING_PHASES
local EXITING = bor(WAITING, P.phase_mask(HEADER_FILTER, BALANCER))
local ERR, WARN = 4, 5
local core = P.core
local CAPTURE = C.PG_OP_CAPTURE

-- A line of the log as nginx's own code writes it: without a place in a script.
local function complain(level, text)
  if vm.log_level >= level then
    core.log(vm, level, text, #text)
  end
end

-- Subrequests go on without their parent in nginx, which therefore refuses to
-- leave while some are under way.
function P.check_pending(level)
  if core.waiting(vm, CAPTURE) > 0 then
    error("attempt to abort with pending subrequests", level + 1)
  end
end

-- Ends the handler: unlike an error, pcall does not see it. In header_filter
-- and balancer it returns, as in OpenResty, and counts when the handler ends.
function ngx.exit(code)
  if type(code) ~= "number" then
    error("bad argument #1 to 'exit' (number expected, got "
      .. (code == nil and "no value" or type(code)) .. ")", 2)
  end
  if code == -2 or code == -4 then
    error("bad argument to 'ngx.exit': does not accept NGX_AGAIN or NGX_DONE",
      2)
  end
  local s = slot_within(EXITING)
  if code ~= -1 and code ~= 408 and code ~= 444 and code ~= 499 then
    P.check_pending(2)
  end
  if code >= 300 and is_sent(s) and code ~= 408 and code ~= 499
    and code ~= 444
  then
    if code ~= s.status then
      complain(ERR, format("attempt to set status %d via ngx.exit after "
        .. "sending out the response status %d", code, s.status))
    end
    code = 200
  end
  s.exit_code = code
  s.has_exit = 1
  local phase = s.phase
  if phase == HEADER_FILTER or phase == BALANCER then
    return
  end
  return wait(C.PG_OP_LEAVE)
end

local function exec_args(args, has)
  local kind = type(args)
  if kind == "table" then
    local ok, text = pcall(P.encode_args, args)
    if not ok then
      error(text, 3)
    end
    return text
  elseif kind == "string" or kind == "number" then
    return tostring(args)
  elseif has and args ~= nil then
    P.argument_error(2, "string, number, or table expected, but got "
      .. kind, 3)
  end
  return ""
end

-- Turns the request to another path, or a named route: ends the handler.
function ngx.exec(...)
  local n = select("#", ...)
  if n ~= 1 and n ~= 2 then
    error("expecting one or two arguments, but got " .. n, 2)
  end
  local uri, args = ...
  uri = P.check_string(uri, 1)
  if uri == "" then
    error("The uri argument is empty", 2)
  end
  local s = slot_within(P.HANDLER_PHASES)
  P.check_pending(2)
  local path, query = P.parse_uri(uri)
  if not path then
    complain(ERR, format('unsafe URI "%s" was detected', uri))
    error("unsafe uri", 2)
  end
  local more = exec_args(args, n == 2)
  if more ~= "" then
    query = query == "" and more or query .. "&" .. more
  end
  if is_sent(s) then
    error("attempt to call ngx.exec after sending out response headers", 2)
  end
  if query ~= "" and path:find("^@") then
    complain(WARN, format("query strings %s ignored when exec'ing named "
      .. "location %s", query, path))
  end
  if core.edit(s, C.PG_EDIT_EXEC, 0, path, #path, query, #query) ~= 0 then
    error("no memory", 2)
  end
  P.leave_context(s)
  s.flags = bor(s.flags, C.PG_F_INTERNAL)
  return P.leave(s, 0)
end

local function when_aborted(f)
  wait(C.PG_OP_ABORT)
  if vm.thread.res ~= 0 then
    return
  end
  core.show(vm)
  return f()
end

-- Runs f in a thread when the client leaves before the handler has ended.
function ngx.on_abort(f)
  local s = P.slot_of_request()
  local flags = s.flags
  if band(flags, C.PG_F_ON_ABORT) ~= 0 then
    return nil, "duplicate call"
  end
  if band(flags, C.PG_F_CHECK_ABORT) == 0 then
    return nil, "lua_check_client_abort is off"
  end
  if type(f) ~= "function" then
    error("bad argument #1 to 'on_abort' (Lua function expected)", 2)
  end
  s.flags = bor(flags, C.PG_F_ON_ABORT)
  if band(bit.lshift(1, s.phase), P.HANDLER_PHASES) ~= 0 then
    P.spawn_hidden(when_aborted, f)
  end
  return 1
end

function ngx.sleep(...)
  local n = select("#", ...)
  if n ~= 1 then
    error("attempt to pass " .. n .. " arguments, but accepted 1", 2)
  end
  local s = vm.slot
  if s.phase == C.PG_PHASE_INIT then
    error("no request found", 2)
  end
  local seconds = tonumber((...))
  if not seconds or type((...)) == "cdata" then
    error("bad argument #1 to 'sleep' (number expected, got "
      .. type((...)) .. ")", 2)
  end
  local ms = seconds * 1000
  ms = ms - ms % 1
  if seconds <= -0.001 or seconds ~= seconds then
    error(format('invalid sleep duration "%d"', ms), 2)
  end
  slot_within(WAITING)
  vm.thread.op_num = ms > 0 and ms / 1000 or 0
  wait(C.PG_OP_SLEEP)
end
