-- require "ngx.errlog": the captured log and lines without a place.

local P = ...

local ffi = require "ffi"
local new_tab = require "table.new"

local ffi_string, ffi_new = ffi.string, ffi.new
local error, tonumber, type = error, tonumber, type

local vm, log = P.vm, P.core.log

ffi.cdef [[
int ngx_http_lua_ffi_errlog_set_filter_level(int level, unsigned char *err,
  size_t *errlen);
int ngx_http_lua_ffi_errlog_get_msg(char **log, int *loglevel,
  unsigned char *err, size_t *errlen, double *log_time);
int ngx_http_lua_ffi_errlog_get_sys_filter_level(void *r);
]]

local C = ffi.C
local DEBUG = 8
local why, why_len = ffi_new("unsigned char[128]"), ffi_new("size_t[1]")
local line, level_of, time_of = ffi_new("char *[1]"), ffi_new("int[1]"),
  ffi_new("double[1]")

local errlog = {version = P.resty_core_version}

function errlog.set_filter_level(level)
  if not level then
    return nil, 'missing "level" argument'
  end
  why_len[0] = 128
  if C.ngx_http_lua_ffi_errlog_set_filter_level(level, why, why_len) ~= 0 then
    return nil, ffi_string(why, why_len[0])
  end
  return true
end

-- level, time, line, level, ... of at most max lines, which are then gone
function errlog.get_logs(max, logs)
  max = max or 10
  logs = logs or new_tab(max * 3 + 1, 0)
  local n = 0
  for _ = 1, max do
    why_len[0] = 128
    local len = C.ngx_http_lua_ffi_errlog_get_msg(line, level_of, why,
      why_len, time_of)
    if len == -1 then
      return nil, ffi_string(why, why_len[0])
    end
    if len < 0 then
      break
    end
    logs[n + 1] = level_of[0]
    logs[n + 2] = time_of[0]
    logs[n + 3] = ffi_string(line[0], len)
    n = n + 3
  end
  logs[n + 1] = nil
  return logs
end

function errlog.get_sys_filter_level()
  return tonumber(vm.log_level)
end

function errlog.raw_log(level, text)
  if type(level) ~= "number" then
    error("bad argument #1 to 'raw_log' (must be a number)", 2)
  end
  if type(text) ~= "string" then
    error("bad argument #2 to 'raw_log' (must be a string)", 2)
  end
  if level < 0 or level > DEBUG then
    error("bad log level", 2)
  end
  if level <= vm.log_level then
    log(vm, level, text, #text)
  end
end

package.preload["ngx.errlog"] = function()
  return errlog
end
