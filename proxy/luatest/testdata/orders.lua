-- A module as OpenResty's users write them; exchange_spec.lua is its spec.

local orders = {}

local consumers = {["demo-key"] = "alice"}

function orders.access()
  local key = ngx.req.get_headers()["x-api-key"]
  local consumer = key and consumers[key]
  if not consumer then
    ngx.header["WWW-Authenticate"] = "ApiKey"
    return ngx.exit(401)
  end
  ngx.req.set_header("X-Consumer", consumer)
  ngx.req.clear_header("X-Api-Key")
  ngx.ctx.consumer = consumer
  if ngx.var.tenant == "none" then
    ngx.var.tenant = consumer
  end
end

function orders.header_filter()
  ngx.header["X-Upstream"] = ngx.header["Server"]
  ngx.header["Server"] = nil
  if ngx.status == 404 then
    ngx.status = 410
  end
end

function orders.body_filter()
  ngx.arg[1] = ngx.arg[1]:upper()
end

function orders.content()
  ngx.req.read_body()
  ngx.status = 202
  ngx.say("got ", ngx.req.get_body_data(), " from ", ngx.var.remote_addr)
  ngx.flush(true)
  ngx.sleep(60)
  ngx.say("done")
  return "yes", nil, 3
end

return orders
