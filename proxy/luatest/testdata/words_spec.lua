-- The words of specs: in which order they run, and what they see.

local order = {}

local function note(what)
  return function() order[#order + 1] = what end
end

setup(note "file setup")
before_each(note "file before")
after_each(note "file after")

describe("blocks", function()
  setup(note "setup")
  teardown(function()
    assert.are.equal("after", order[#order - 1])
  end)
  before_each(note "before")
  after_each(note "after")

  it("run setup once, before_each outer first", function()
    assert.are.same({"file setup", "setup", "file before", "before"}, order)
  end)

  it("run after_each inner first", function()
    assert.are.same({
      "file setup", "setup", "file before", "before",
      "after", "file after", "file before", "before",
    }, order)
  end)

  describe("in one another", function()
    before_each(note "inner before")

    it("see the hooks of all", function()
      local n = #order
      assert.are.same({"file before", "before", "inner before"},
        {order[n - 2], order[n - 1], order[n]})
    end)
  end)

  context("by another name", function()
    spec("are the same", function() end)
    test("are the same too", function() end)
  end)
end)

describe("finally", function()
  local called

  it("is called after the test", function()
    finally(function() called = true end)
    assert.is_nil(called)
  end)

  it("was called", function()
    assert.is_true(called)
  end)
end)

describe("what a test replaces", function()
  local t = {f = function() return "real" end}

  it("is stubbed in this one", function()
    stub(t, "f").returns("stubbed")
    assert.are.equal("stubbed", t.f())
  end)

  it("is back in the next", function()
    assert.are.equal("real", t.f())
  end)
end)

insulate("an insulated block", function()
  it("may load modules and set globals", function()
    package.loaded["a.module"] = {}
    _G.a_global = 1 -- luacheck: ignore 112
    assert.is_table(require "a.module")
  end)
end)

describe("the next block", function()
  it("does not see them", function()
    assert.is_nil(package.loaded["a.module"])
    assert.is_nil(_G.a_global)
  end)
end)

describe("globals of a spec", function()
  it("are its own: modules do not see its assert", function()
    local real = loadstring "return assert"()
    assert.is_function(real)
    assert.is_table(require "luassert")
    assert.are.equal(assert, require "luassert")
    assert.is_function(require "busted".describe)
    assert.is_function(require "busted.runner")
  end)
end)

describe("waiting", function()
  it("is possible in tests, through pcall and coroutines", function()
    local from = ngx.now()
    local co = coroutine.wrap(function()
      assert(pcall(ngx.sleep, 3600))
      coroutine.yield(1)
    end)
    assert.are.equal(1, co())
    assert.is_near(3600, ngx.now() - from, 1)
  end)
end)
