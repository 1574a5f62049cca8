-- resty.core.time: beside ngx.now and its like, the monotonic clock.

local P = ...

local tonumber = tonumber
local C = require "ffi".C

return {
  version = P.resty_core_version,

  monotonic_msec = function()
    return tonumber(C.ngx_http_lua_ffi_monotonic_msec())
  end,
  monotonic_time = function()
    return tonumber(C.ngx_http_lua_ffi_monotonic_msec()) / 1000
  end,
}
