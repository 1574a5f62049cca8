-- Names are asked for where they would be printed.
local name = ngx.var.arg_name
if not name or not name:find("^%a+$") then
  return ngx.exit(ngx.HTTP_BAD_REQUEST)
end
ngx.ctx.name = name
