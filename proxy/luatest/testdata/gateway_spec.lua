-- Requests through a real gateway, whose upstreams are stubs of the spec.

describe("a gateway of a text", function()
  local orders, gw

  setup(function()
    orders = perigee.upstream {
      ["/orders/7"] = "seven",
      ["POST /orders/"] = function(request)
        return {
          status = 201, headers = {Location = "/orders/8"},
          body = "got " .. request.body,
        }
      end,
      ["/many/*"] = {headers = {["Set-Cookie"] = {"a=1", "b=2"}}},
      ["/pieces"] = {chunks = {"one ", "two"}},
      ["/turns"] = {"first", {status = 202, body = "second"}, "last"},
      ["/gone"] = perigee.upstream.close,
      ["/garbage"] = {raw = "HTTP/9.9 no\r\n\r\n"},
      ["/broken"] = {raw = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"},
    }
    gw = perigee.gateway {
      upstreams = {orders = orders},
      config = [[
upstreams:
  orders: {endpoints: ["10.0.0.1:9001"]}
  nobody: {endpoints: ["10.0.0.2:9001"]}
routes:
  - name: orders
    upstream: orders
    lua:
      access: |
        ngx.req.set_header("X-Client", ngx.var.remote_addr)
        if ngx.var.arg_key == "no" then return ngx.exit(403) end
      log: |
        ngx.log(ngx.NOTICE, "answered ", ngx.status, " by ",
          ngx.var.upstream_addr)
  - name: nobody
    match: {paths: ["/nobody"]}
    upstream: nobody
  - name: hello
    match: {paths: ["= /hello"]}
    lua:
      content: |
        ngx.say("hello ", ngx.var.arg_name, " at ", ngx.var.host)
]],
    }
  end)

  before_each(function() orders:reset() end)

  it("answers as the upstream does", function()
    local res = gw:get("/orders/7")
    assert.are.equal(200, res.status)
    assert.are.equal("seven", res.body)
  end)

  it("shows what the upstream was asked", function()
    gw:get("/orders/7?x=1&y", {headers = {["X-Tag"] = {"a", "b"}}})
    assert.are.equal(1, #orders.requests)
    local asked = orders:last()
    assert.are.equal("GET", asked.method)
    assert.are.equal("/orders/7", asked.path)
    assert.are.equal("x=1&y", asked.query)
    assert.are.same({"a", "b"}, asked.headers["x-tag"])
  end)

  it("takes a client's address", function()
    gw:get("/orders/7", {from = "203.0.113.9"})
    assert.are.equal("203.0.113.9", orders:last().headers.x_client)
    gw:get("/orders/7", {from = "2001:db8::1"})
    assert.are.equal("2001:db8::1", orders:last().headers.x_client)
  end)

  it("sends bodies", function()
    local res = gw:post("/orders/", "eight")
    assert.are.equal(201, res.status)
    assert.are.equal("/orders/8", res.headers.location)
    assert.are.equal("got eight", res.body)
    res = gw:post("/orders/", {item = "a b", n = 2})
    assert.are.equal("got item=a%20b&n=2", res.body)
    assert.are.equal("application/x-www-form-urlencoded",
      orders:last().headers["content-type"])
  end)

  it("keeps an answer away from the upstream", function()
    assert.are.equal(403, gw:get("/orders/7?key=no").status)
    assert.are.equal(0, #orders.requests)
  end)

  it("runs Lua alone", function()
    local res = gw:get("/hello", {query = {name = "a&b"}, host = "a.example"})
    assert.are.equal("hello a%26b at a.example\n", res.body)
  end)

  it("gives headers in any case, several as a list", function()
    local res = gw:get("/many/of/them")
    assert.are.same({"a=1", "b=2"}, res.headers["set-cookie"])
    assert.are.equal(res.headers.set_cookie, res.headers["SET-COOKIE"])
    assert.is_nil(res.headers.nothing)
  end)

  it("reads bodies in pieces", function()
    assert.are.equal("one two", gw:get("/pieces").body)
    assert.are.equal("", gw:head("/orders/7").body)
  end)

  it("takes answers in turns", function()
    local seen = {}
    for i = 1, 4 do
      local res = gw:get("/turns")
      seen[i] = res.status .. " " .. res.body
    end
    assert.are.same({"200 first", "202 second", "200 last", "200 last"}, seen)
  end)

  it("says when the stub has no answer", function()
    local res = gw:get("/orders/none")
    assert.are.equal(404, res.status)
    assert.matches("no answer for GET /orders/none", res.body)
  end)

  it("answers 502 where an upstream fails", function()
    assert.are.equal(502, gw:get("/gone").status)
    assert.are.equal(502, gw:get("/garbage").status)
    assert.are.equal(502, gw:get("/nobody").status)
  end)

  it("shows an answer that breaks off", function()
    local res = gw:get("/broken")
    assert.are.equal(200, res.status)
    assert.are.equal("half", res.body)
    assert.is_truthy(res.truncated)
  end)

  it("has a log", function()
    gw:get("/orders/7")
    assert.matches("answered 200 by 10.0.0.1:9001", gw:log(), 1, true)
  end)

  it("takes raw bytes", function()
    local answer = gw:raw("GET /orders/7 HTTP/1.0\r\n\r\n")
    assert.matches("^HTTP/1.%d 200 OK\r\n.*seven$", answer)
    answer = gw:raw("GET /orders/7 HTTP/1.1\r\nBad Header: 1\r\n\r\n")
    assert.matches("^HTTP/1.1 400 ", answer)
  end)

  it("can be reloaded", function()
    local other = perigee.gateway {config = [[
routes: [{name: a, respond: {body: "first\n"}}]
]]}
    assert.are.equal("first\n", other:get("/").body)
    other:reload {config = [[
routes: [{name: a, respond: {body: "second\n"}}]
]]}
    assert.are.equal("second\n", other:get("/").body)
  end)

  it("says what is wrong with a configuration", function()
    assert.error_matches(function()
      perigee.gateway {config = "routes:\n  - nme: a"}
    end, "gateway_spec.lua:2:5: .*nme")
    assert.error_matches(function()
      perigee.gateway {config = [[
routes: [{name: a, lua: {access: "x ="}}]
]]}
    end, "unexpected symbol")
    assert.error_matches(function()
      perigee.gateway {
        config = "routes: [{name: a, respond: {}}]",
        upstreams = {orders = orders},
      }
    end, 'no upstream "orders"')
  end)
end)

describe("an upstream that refuses", function()
  it("is passed over for another", function()
    local gw = perigee.gateway {
      config = [[
upstreams:
  two: {endpoints: ["10.0.0.1:80", "10.0.0.2:80"]}
routes: [{name: all, upstream: two}]
]],
      upstreams = {
        ["10.0.0.1:80"] = perigee.upstream.refuse,
        ["10.0.0.2:80"] = "second",
      },
    }
    assert.are.equal("second", gw:get("/").body)
    assert.are.equal("second", gw:get("/").body)
  end)
end)
