if ngx.req.get_uri_args().sort ~= "name" then
  error("not what was sent")
end
