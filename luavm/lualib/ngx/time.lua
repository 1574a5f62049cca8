-- Time: the clock that is read once per run, and dates as text. A text is
-- made once per second and VM; asking again costs a comparison.

local P = ...

local ffi = require "ffi"

local C = ffi.C
local ffi_string = ffi.string
local error, type = error, type
local floor = math.floor

local ngx = P.ngx
local vm = P.vm
local c_update_time = P.core.update_time
local c_format, c_parse = P.text.format_time, P.text.parse_http_time

local DATE, LOCAL, UTC, HTTP, COOKIE = C.PG_TIME_DATE, C.PG_TIME_LOCAL,
  C.PG_TIME_UTC, C.PG_TIME_HTTP, C.PG_TIME_COOKIE

local buf = ffi.new("char[64]")

local function format(sec, form)
  return ffi_string(buf, c_format(sec, form, buf))
end

function ngx.now()
  return vm.now
end

function ngx.time()
  return floor(vm.now)
end

function ngx.update_time()
  c_update_time(vm)
end

local date, date_at
function ngx.today()
  local sec = floor(vm.now)
  if sec ~= date_at then
    date, date_at = format(sec, DATE), sec
  end
  return date
end

local here, here_at
function ngx.localtime()
  local sec = floor(vm.now)
  if sec ~= here_at then
    here, here_at = format(sec, LOCAL), sec
  end
  return here
end

local utc, utc_at
function ngx.utctime()
  local sec = floor(vm.now)
  if sec ~= utc_at then
    utc, utc_at = format(sec, UTC), sec
  end
  return utc
end

local http, http_at
function ngx.http_time(sec)
  if type(sec) ~= "number" then
    error("number argument only", 2)
  end
  if sec ~= http_at then
    http, http_at = format(sec, HTTP), sec
  end
  return http
end

local cookie, cookie_at
function ngx.cookie_time(sec)
  if type(sec) ~= "number" then
    error("number argument only", 2)
  end
  if sec ~= cookie_at then
    cookie, cookie_at = format(sec, COOKIE), sec
  end
  return cookie
end

function ngx.parse_http_time(s)
  if type(s) ~= "string" then
    error("string argument only", 2)
  end
  local sec = c_parse(s, #s)
  if sec == -1 then
    return nil
  end
  return sec
end
