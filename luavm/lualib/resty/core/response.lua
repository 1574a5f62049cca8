-- resty.core.response: the function behind ngx.header and add_header.

local P = ...

local write_field = P.write_response_field

return {
  version = P.resty_core_version,

  set_resp_header = function(_, name, value, add)
    write_field(name, value, add)
  end,
  bypass_if_checks = require "ngx.resp".bypass_if_checks,
}
