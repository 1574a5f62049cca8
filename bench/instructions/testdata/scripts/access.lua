local headers = ngx.req.get_headers()
local key = headers["x-api-key"]
if key ~= "key-0123456789" or ngx.var.arg_id ~= "42" then
  error("not what was sent")
end
ngx.req.set_header("X-Consumer", headers["user-agent"])
