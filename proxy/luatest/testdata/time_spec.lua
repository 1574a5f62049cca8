-- Time: what is waited for passes at once, and everybody sees that it has.

local config = [[
lua:
  shared_dicts: {seen: 64KiB}
upstreams:
  slow:
    endpoints: ["10.0.0.1:80"]
    timeouts: {response: 60s}
    retry: {attempts: 1}
routes:
  - name: slow
    upstream: slow
  - name: sleep
    match: {paths: ["= /sleep"]}
    lua:
      content: |
        local from = ngx.now()
        ngx.sleep(tonumber(ngx.var.arg_s))
        ngx.print(math.floor(ngx.now() - from + 0.5), " ",
          math.floor(ngx.now() - ngx.req.start_time() + 0.5))
  - name: limit
    match: {paths: ["= /limit"]}
    lua:
      content: |
        ngx.print((ngx.shared.seen:incr("n", 1, 0, 10)))
  - name: timers
    match: {paths: ["= /timers"]}
    lua:
      content: |
        local seen = ngx.shared.seen
        local start = ngx.now()
        local function note(_, what)
          seen:rpush("fired", what .. " " ..
            math.floor(ngx.now() - start + 0.5))
        end
        assert(ngx.timer.at(30, note, "once"))
        assert(ngx.timer.every(20, note, "every"))
  - name: fired
    match: {paths: ["= /fired"]}
    lua:
      content: |
        local what = ngx.shared.seen:lpop("fired")
        while what do
          ngx.print(what, ", ")
          what = ngx.shared.seen:lpop("fired")
        end
]]

describe("time", function()
  local gw

  before_each(function()
    gw = perigee.gateway {
      config = config,
      upstreams = {
        slow = {
          ["/late"] = {delay = 30, body = "late"},
          ["/never"] = {delay = 1e6},
        },
      },
    }
  end)

  it("passes at once where a script sleeps", function()
    assert.are.equal("10 10", gw:get("/sleep?s=10").body)
    assert.are.equal("3600 3600", gw:get("/sleep?s=3600").body)
  end)

  it("is the same in the spec", function()
    local from = ngx.now()
    gw:get("/sleep?s=10")
    assert.is_near(10, ngx.now() - from, 1)
  end)

  it("ages what is in shared dictionaries", function()
    assert.are.equal("1", gw:get("/limit").body)
    assert.are.equal("2", gw:get("/limit").body)
    ngx.sleep(11)
    assert.are.equal("1", gw:get("/limit").body)
  end)

  it("fires timers in their order", function()
    gw:get("/timers")
    assert.are.equal("", gw:get("/fired").body)
    ngx.sleep(65)
    assert.are.equal("every 20, once 30, every 40, every 60, ",
      gw:get("/fired").body)
  end)

  it("passes for upstreams that are slow", function()
    assert.are.equal("late", gw:get("/late").body)
  end)

  it("runs out for those that never answer", function()
    local from = ngx.now()
    assert.are.equal(504, gw:get("/never").status)
    assert.is_true(ngx.now() - from >= 60)
    assert.is_true(ngx.now() - from < 100)
  end)

  it("orders sleeps by their ends", function()
    local order = {}
    local threads = {}
    for _, s in ipairs {30, 10, 20} do
      threads[#threads + 1] = ngx.thread.spawn(function()
        ngx.sleep(s)
        order[#order + 1] = s
      end)
    end
    for _, t in ipairs(threads) do
      assert(ngx.thread.wait(t))
    end
    assert.are.same({10, 20, 30}, order)
  end)
end)
