local m = ngx.re.match(ngx.var.uri, [[^/api/(\w+)$]], "jo")
if not m or m[1] ~= "items" then
  error("no match")
end
