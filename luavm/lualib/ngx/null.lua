-- ngx.null, and the modules that are linked into the program: lua-cjson
-- (whose cjson.null is the same light userdata) and a resty.core that is
-- there already.

local P = ...

local preload = package.preload

P.ngx.null = P.null

preload["cjson"] = P.cjson
preload["cjson.safe"] = P.cjson_safe

-- The release of lua-resty-core whose behaviour this library has.
P.resty_core_version = "0.1.25"

-- What resty.core replaces in OpenResty is this way from the start here.
preload["resty.core"] = function()
  return {version = P.resty_core_version}
end
