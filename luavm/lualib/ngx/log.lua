-- ngx.log, its levels, and print.

local P = ...

local error, tonumber, type = error, tonumber, type
local format = string.format

local vm, ngx = P.vm, P.ngx
local log_line = P.log_line

local levels = {"EMERG", "ALERT", "CRIT", "ERR", "WARN", "NOTICE", "INFO",
  "DEBUG"}
local NOTICE, DEBUG = 6, 8

ngx.STDERR = 0
for i = 1, #levels do
  ngx[levels[i]] = i
end

-- Both end in a tail call, so that log_line finds the script's own line one
-- level up.

function ngx.log(level, ...)
  local n = tonumber(level)
  if not n or type(level) == "cdata" then
    error("bad argument #1 to 'log' (number expected, got "
      .. (level == nil and "no value" or type(level)) .. ")", 2)
  end
  if n > vm.log_level and n <= DEBUG then
    return
  end
  if n < 0 or n > DEBUG then
    error(format("bad argument #1 to 'log' (bad log level: %d)", n), 2)
  end
  return log_line(n, ...)
end

function _G.print(...)
  if vm.log_level < NOTICE then
    return
  end
  return log_line(NOTICE, ...)
end
