-- The demo's orders route: an API key, and five requests a second for each.
-- Run it with `perigee test cmd/perigee/demo`.

describe("orders", function()
  local origin, gw

  before_each(function()
    origin = perigee.upstream {["/orders/7"] = "seven"}
    gw = perigee.gateway {
      file = "../demo.yaml", upstreams = {origin = origin},
    }
  end)

  local function ask(key)
    return gw:get("/orders/7", {headers = {["X-Api-Key"] = key}})
  end

  it("asks for a key", function()
    local res = ask(nil)
    assert.are.equal(401, res.status)
    assert.are.equal('ApiKey realm="demo"', res.headers["WWW-Authenticate"])
    assert.are.equal(0, #origin.requests)
  end)

  it("tells the origin whose key it was", function()
    assert.are.equal("seven", ask("demo-key").body)
    assert.are.equal("alice", origin:last().headers["X-Consumer"])
  end)

  it("lets five requests a second pass for each key", function()
    for _ = 1, 5 do
      assert.are.equal(200, ask("demo-key").status)
    end
    local res = ask("demo-key")
    assert.are.equal(429, res.status)
    assert.are.equal("1", res.headers["Retry-After"])
    assert.are.equal(200, ask("other-key").status)
    ngx.sleep(1) -- passes at once
    assert.are.equal(200, ask("demo-key").status)
  end)
end)
