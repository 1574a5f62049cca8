-- Scripts that call out: their sockets reach stubs, and nothing else.

local config = [[
routes:
  - name: line
    match: {paths: ["/line"]}
    lua:
      content: |
        local s = ngx.socket.tcp()
        local ok, err = s:connect("echo.internal", 7)
        if not ok then return ngx.say("not connected: ", err) end
        s:send("hello\n")
        ngx.say(s:receive())
        s:close()
  - name: http
    match: {paths: ["/http"]}
    lua:
      content: |
        local s = ngx.socket.tcp()
        assert(s:connect("api.internal", 80))
        assert(s:send("GET /status HTTP/1.0\r\nHost: api.internal\r\n\r\n"))
        local line = s:receive()
        while line ~= "" do line = s:receive() end
        ngx.print(s:receive("*a"))
  - name: redis
    match: {paths: ["/redis"]}
    lua:
      content: |
        local s = ngx.socket.tcp()
        assert(s:connect("10.0.0.5", 6379))
        local function ask(...)
          local out = {"*" .. select("#", ...) .. "\r\n"}
          for _, w in ipairs {...} do
            out[#out + 1] = "$" .. #w .. "\r\n" .. w .. "\r\n"
          end
          assert(s:send(out))
          return (s:receive())
        end
        ngx.say(ask("SET", "k", "v"), " ", ask("GET", "k"), s:receive(), " ",
          ask("INCR", "n"), " ", ask("HGET", "h", "f"), s:receive(), " ",
          ask("NOPE"))
        s:setkeepalive()
]]

describe("sockets of scripts", function()
  it("reach a server that speaks", function()
    local gw = perigee.gateway {
      config = config,
      upstreams = {
        ["echo.internal:7"] = perigee.server(function(conn)
          conn:send(conn:receive():upper() .. "\r\n")
        end),
      },
    }
    assert.are.equal("HELLO\n", gw:get("/line").body)
  end)

  it("reach an upstream's stub", function()
    local api = perigee.upstream {["/status"] = {body = "well", close = true}}
    local gw = perigee.gateway {
      config = config, upstreams = {["api.internal:80"] = api},
    }
    assert.are.equal("well", gw:get("/http").body)
    assert.are.equal("api.internal", api:last().headers.host)
  end)

  it("reach a Redis", function()
    local redis = perigee.redis {
      hget = function(_, key, field) return key .. "." .. field end,
    }
    local gw = perigee.gateway {
      config = config, upstreams = {["10.0.0.5:6379"] = redis},
    }
    local want = "+OK $1v :1 $3h.f -ERR unknown command 'NOPE'\n"
    assert.are.equal(want, gw:get("/redis").body)
    assert.are.equal(want:gsub(":1", ":2"), gw:get("/redis").body)
    assert.are.equal("v", redis.data.k)
    assert.are.same({"SET", "k", "v"}, redis.requests[1])
  end)

  it("reach nobody else", function()
    local gw = perigee.gateway {config = config}
    assert.are.equal("not connected: connection refused\n",
      gw:get("/line").body)
    assert.matches("no stub stands for it", gw:log())
    gw = perigee.gateway {
      config = config,
      upstreams = {["echo.internal:7"] = perigee.upstream.refuse},
    }
    assert.are.equal("not connected: connection refused\n",
      gw:get("/line").body)
  end)
end)
