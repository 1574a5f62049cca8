local var = ngx.var
if var.uri ~= "/api/items" or var.http_user_agent ~= "harness/1.0"
    or var.cookie_theme ~= "dark" or var.remote_addr ~= "192.0.2.7" then
  error("not what was sent")
end
