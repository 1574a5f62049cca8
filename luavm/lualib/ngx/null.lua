-- ngx.null, and the modules that are linked into the program: lua-cjson
-- (whose cjson.null is the same light userdata).

local P = ...

local preload = package.preload

P.ngx.null = P.null

preload["cjson"] = P.cjson
preload["cjson.safe"] = P.cjson_safe

-- The release of lua-resty-core whose behaviour this library has.
P.resty_core_version = "0.1.25"
