ngx.header["X-Gateway"] = "perigee"
ngx.header.server = nil
if ngx.header["X-Gateway"] ~= "perigee" or ngx.header.server then
  error("not what was set")
end
