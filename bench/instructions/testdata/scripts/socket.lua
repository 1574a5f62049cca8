local sock = ngx.socket.tcp()
assert(sock:connect("127.0.0.1", 6379))
assert(sock:send("PING\r\n"))
if sock:receive() ~= "+PONG" then
  error("not what was answered")
end
assert(sock:setkeepalive())
