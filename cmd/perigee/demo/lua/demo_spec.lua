-- The demo's other routes, and the script of one of them called alone.

describe("the demo", function()
  local gw, origin

  setup(function()
    origin = perigee.upstream(function(request)
      return {headers = {Server = "origin"}, body = request.target}
    end)
    gw = perigee.gateway {
      file = "../demo.yaml", upstreams = {origin = origin},
    }
  end)

  it("sends everything on that no other route takes", function()
    assert.are.equal("/any/path?x=1", gw:get("/any/path?x=1").body)
  end)

  it("greets", function()
    assert.are.equal("hello perigee\n", gw:get("/hello?name=perigee").body)
    assert.are.equal("hello world\n", gw:get("/hello").body)
  end)

  it("rewrites headers in both directions", function()
    local res = gw:get("/headers", {
      from = "203.0.113.9", headers = {["User-Agent"] = "spec"},
    })
    assert.matches("^%x+$", res.headers["X-Request-Id"])
    assert.are.equal("perigee", res.headers["X-Served-By"])
    assert.is_nil(res.headers.server)
    local asked = origin:last()
    assert.are.equal("203.0.113.9", asked.headers["X-Demo-Client"])
    assert.is_nil(asked.headers["User-Agent"])
  end)
end)

describe("orders.lua", function()
  it("counts in a dictionary that may be a stub", function()
    local script = assert(loadfile(perigee.path("orders.lua")))
    local count = stub.new(nil, nil, 6)
    local shared = ngx.shared
    ngx.shared = {counters = {incr = count}}
    finally(function() ngx.shared = shared end)
    local seen = perigee.exchange({
      phase = "access", headers = {["X-Api-Key"] = "demo-key"},
    }, script)
    assert.are.equal(429, seen.exit)
    assert.stub(count).was.called(1)
  end)
end)
