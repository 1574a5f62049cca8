-- Spies, stubs, mocks and matchers.

describe("a spy", function()
  local t

  before_each(function()
    t = {add = function(a, b) return a + b end}
  end)

  it("sees calls and lets them through", function()
    local s = spy.on(t, "add")
    assert.spy(s).was_not.called()
    assert.are.equal(3, t.add(1, 2))
    t.add(3, 4)
    assert.spy(t.add).was.called()
    assert.spy(s).was.called(2)
    assert.spy(s).was.called_with(1, 2)
    assert.spy(s).was_not.called_with(2, 1)
    assert.spy(s).was.returned_with(7)
    assert.spy(s).was.called_at_least(1)
    assert.spy(s).was.called_at_most(2)
    assert.spy(s).was.called_more_than(1)
    assert.spy(s).was.called_less_than(3)
    s:clear()
    assert.spy(s).was_not.called()
    s:revert()
    assert.is_function(t.add)
  end)

  it("keeps arguments as they were", function()
    local s = spy.new(function() end)
    local list = {1}
    s(list, nil)
    list[1] = 2
    assert.spy(s).was.called_with({1}, nil)
    assert.spy(s).was.called_with(match.is_ref(list), nil)
    assert.spy(s).was_not.called_with({1})
  end)

  it("takes matchers for arguments", function()
    local s = spy.new(function() end)
    s("key", 10, {a = 1})
    assert.spy(s).was.called_with(match._, match.is_number(),
      match.is_same({a = 1}))
    assert.spy(s).was.called_with(match.matches("^k"), match.is_near(9, 1),
      match.is_table())
    assert.spy(s).was_not.called_with(match.is_not_string(), match._, match._)
    assert.are.same({x = match.is_string()}, {x = "any"})
  end)

  it("says what it has seen", function()
    local s = spy.new(function() end)
    s("a", 1)
    local ok, err = pcall(function() assert.spy(s).was.called_with("b") end)
    assert.is_false(ok)
    assert.are.equal("Function was never called with matching arguments.\n"
      .. "Called with (last call if any):\n(values list) ((string) 'a', "
      .. "(number) 1)\nExpected:\n(values list) ((string) 'b')",
      tostring(err))
    ok, err = pcall(function() assert.spy(s).was.called(2) end)
    assert.is_false(ok)
    assert.are.equal("Expected to be called 2 time(s), but was called 1 "
      .. "time(s)", tostring(err))
    assert.error_matches(function() assert.spy(print).was.called() end,
      "must not be the original function")
  end)
end)

describe("a stub", function()
  it("answers by itself", function()
    local t = {f = function() return "real" end}
    local s = stub(t, "f")
    assert.is_nil((t.f()))
    s.returns(1, nil, 3)
    assert.are.same({1, nil, 3}, {t.f()})
    s.invokes(function(x) return x .. "!" end)
    assert.are.equal("a!", t.f("a"))
    s.on_call_with("b").returns("special")
    assert.are.equal("special", t.f("b"))
    assert.are.equal("c!", t.f("c"))
    assert.stub(t.f).was.called(5)
    s:revert()
    assert.are.equal("real", t.f())
  end)

  it("may stand where nothing was", function()
    local t = {}
    local s = stub(t, "f", "given")
    assert.are.equal("given", t.f())
    s:revert()
    assert.is_nil(t.f)
  end)
end)

describe("a mock", function()
  it("is a table of spies or stubs", function()
    local t = {f = function() return 1 end, deep = {g = function() end}}
    mock(t)
    assert.are.equal(1, t.f())
    t.deep.g("x")
    assert.spy(t.deep.g).was.called_with("x")
    mock.clear(t)
    assert.spy(t.f).was_not.called()
    mock.revert(t)
    assert.is_function(t.f)
    mock(t, true)
    assert.is_nil((t.f()))
  end)
end)

describe("a snapshot", function()
  it("takes back what was replaced since", function()
    local t = {f = function() return "real" end}
    local snapshot = assert:snapshot()
    stub(t, "f")
    snapshot:revert()
    assert.are.equal("real", t.f())
  end)
end)
