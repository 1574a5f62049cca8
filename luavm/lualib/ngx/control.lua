-- ngx.exit and ngx.sleep.

local P = ...

local error, tonumber, type, select = error, tonumber, type, select
local format = string.format
local ffi = require "ffi"
local bit = require "bit"
local bor = bit.bor
local C = ffi.C

local vm, ngx = P.vm, P.ngx
local wait = P.wait
local slot_within, is_sent = P.slot_within, P.is_sent
local log = P.core.log

local HEADER_FILTER, BALANCER = C.PG_PHASE_HEADER_FILTER, C.PG_PHASE_BALANCER
local WAITING = P.WAITING_PHASES
local EXITING = bor(WAITING, P.phase_mask(HEADER_FILTER, BALANCER))
local ERR = 4

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
  if code >= 300 and is_sent(s) and code ~= 408 and code ~= 499
    and code ~= 444
  then
    if code ~= s.status and vm.log_level >= ERR then
      local line = format("attempt to set status %d via ngx.exit after "
        .. "sending out the response status %d", code, s.status)
      log(vm, ERR, line, #line)
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
