-- A module's functions, called as a phase of a made up request.

local orders = require "orders"

describe("access", function()
  it("lets a known key pass", function()
    local seen = perigee.exchange({
      phase = "access", path = "/orders/7?x=1",
      headers = {["X-Api-Key"] = "demo-key"},
      variables = {tenant = "none"},
    }, orders.access)
    assert.is_nil(seen.exit)
    assert.are.equal("alice", seen.request.headers["X-Consumer"])
    assert.is_nil(seen.request.headers["X-Api-Key"])
    assert.are.equal("/orders/7", seen.request.path)
    assert.are.equal("x=1", seen.request.query)
    assert.are.equal("alice", seen.ctx.consumer)
    assert.are.equal("alice", seen.variables.tenant)
  end)

  it("asks for a key", function()
    local seen = perigee.exchange({}, orders.access)
    assert.are.equal(401, seen.exit)
    assert.are.equal("ApiKey", seen.headers["WWW-Authenticate"])
  end)
end)

describe("content", function()
  it("reads the body, answers and returns", function()
    local seen = perigee.exchange({
      phase = "content", method = "PUT", body = "a body", from = "192.0.2.1",
    }, orders.content)
    assert.are.equal(202, seen.status)
    assert.are.equal("got a body from 192.0.2.1\ndone\n", seen.body)
    assert.are.same({n = 3, "yes", nil, 3}, seen.returned)
  end)
end)

describe("filters", function()
  local response = {status = 404, headers = {Server = "b"}, body = "text"}

  it("change the head", function()
    local seen = perigee.exchange({
      phase = "header_filter", response = response,
    }, orders.header_filter)
    assert.are.equal(410, seen.status)
    assert.are.equal("b", seen.headers["X-Upstream"])
    assert.is_nil(seen.headers.server)
  end)

  it("change the body", function()
    local seen = perigee.exchange({
      phase = "body_filter", response = response,
    }, orders.body_filter)
    assert.are.equal("TEXT", seen.body)
  end)

  it("cannot do what their phase cannot", function()
    assert.error_matches(function()
      perigee.exchange({phase = "header_filter", response = response},
        function() ngx.say("x") end)
    end, "API disabled in the context of header_filter_by_lua*", 1, true)
  end)
end)

describe("a function that fails", function()
  it("fails the test, or is expected to", function()
    assert.has_error(function()
      perigee.exchange({}, function() error("no", 0) end)
    end, "no")
  end)

  it("may use threads, and what they wait for", function()
    local seen = perigee.exchange({phase = "content"}, function()
      local t = ngx.thread.spawn(function()
        ngx.sleep(1)
        return "slept"
      end)
      ngx.say(select(2, ngx.thread.wait(t)))
    end)
    assert.are.equal("slept\n", seen.body)
  end)

  it("may be stubbed where it calls out", function()
    stub(ngx.req, "get_headers").returns({["x-api-key"] = "demo-key"})
    local set = spy.on(ngx.req, "set_header")
    perigee.exchange({}, orders.access)
    assert.spy(set).was.called_with("X-Consumer", "alice")
  end)
end)
