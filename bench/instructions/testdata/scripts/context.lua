ngx.ctx.user = "u1"
if ngx.ctx.user ~= "u1" then
  error("not what was set")
end
