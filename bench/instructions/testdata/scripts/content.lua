local cjson = require "cjson"
ngx.header["Content-Type"] = "application/json"
local s = cjson.encode {path = ngx.var.uri, items = {1, 2, 3}}
ngx.header["Content-Length"] = #s
ngx.print(s)
