local t = ngx.thread.spawn(function()
  ngx.sleep(0.001)
  return 7
end)
local ok, n = ngx.thread.wait(t)
if not ok or n ~= 7 then
  error("the thread did not end well")
end
