-- resty.core.request: the function behind ngx.req.set_header and add_header.

local P = ...

local write_field = P.write_request_field

return {
  version = P.resty_core_version,

  set_req_header = function(name, value, override)
    write_field(name, value, not override)
  end,
}
