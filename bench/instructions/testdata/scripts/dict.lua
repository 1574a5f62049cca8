local d = ngx.shared.d
d:set("last", "key-0123456789", 60)
if d:get("last") ~= "key-0123456789" or not d:incr("count", 1, 0) then
  error("not what was set")
end
