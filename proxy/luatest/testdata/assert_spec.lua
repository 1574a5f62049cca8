-- assert's words: what holds, and what failures say.

-- The message of a failed assertion.
local function message_of(f, ...)
  local ok, err = pcall(f, ...)
  assert(not ok, "it held")
  return tostring(err)
end

describe("assert", function()
  it("is Lua's own when it is called", function()
    local a, b, c = assert(1, nil, 3)
    assert.are.same({1, nil, 3}, {a, b, c})
    assert.has_error(function() assert(nil, "no") end, "no")
    assert.has_error(function() assert(false) end, "assertion failed!")
  end)

  it("compares values", function()
    assert.are.equal(1, 1)
    assert.equals("a", "a")
    assert.are_not.equal(1, "1")
    assert.is_not.equal({}, {})
    assert.are.same({a = {1, 2}}, {a = {1, 2}})
    assert.same({}, {})
    assert.are_not.same({a = {1, 2}}, {a = {1, 3}})
    assert.are_not.same({a = 1}, {a = 1, b = 2})
  end)

  it("compares tables that contain themselves", function()
    local a, b = {1}, {1}
    a.self, b.self = a, b
    assert.are.same(a, b)
    b[1] = 2
    assert.are_not.same(a, b)
  end)

  it("knows truth", function()
    assert.is_true(true)
    assert.is_false(false)
    assert.is_not_true(1)
    assert.is_truthy(0)
    assert.truthy("")
    assert.is_falsy(nil)
    assert.falsy(false)
    assert.is_nil(nil)
    assert.is_not_nil(false)
    assert.is_not.falsy(1)
  end)

  it("knows types", function()
    assert.is_string("")
    assert.is_number(0 / 0)
    assert.is_table({})
    assert.is_boolean(false)
    assert.is_function(print)
    assert.is_userdata(ngx.null)
    assert.is_thread(coroutine.create(function() end))
    assert.is_not_string(1)
  end)

  it("knows numbers that are near, and patterns", function()
    assert.is_near(10, 10.4, 0.5)
    assert.is_not.near(10, 10.6, 0.5)
    local year, month = assert.matches("(%d+)-(%d+)", "on 2026-11-27")
    assert.are.same({"2026", "11"}, {year, month})
    assert.has.match("a", "bad")
    assert.matches(".", "a.b", 1, true)
    assert.does_not.match("^b", "a.b")
  end)

  it("knows errors", function()
    assert.has_error(function() error("a text") end)
    assert.has_error(function() error("a text") end, "a text")
    assert.has.errors(function() error({code = 1}) end, {code = 1})
    assert.has_no.errors(function() end)
    assert.error_matches(function() error("a text") end, "^a %a+$")
    assert.has_no_error(function() end)
    assert.has_error(function() assert.is_true(false) end)
  end)

  it("knows lists", function()
    assert.is_unique({1, 2, 3})
    assert.is_not_unique({1, 2, 1})
    assert.is_unique({{1}, {1}})
    assert.is_not_unique({{1}, {1}}, true)
    assert.array({1, nil, 3}).has.holes()
    assert.array({1, 2, 3}).has.no.holes()
    assert.array({1, 2}).has.holes(3)
    assert.returned_arguments(2, nil, nil)
  end)

  it("returns what it was given", function()
    assert.are.equal("v", assert.is_string("v"))
  end)

  it("takes assertions of others", function()
    local say = require "say"
    say:set("assertion.even.positive", "Expected %s to be even")
    say:set("assertion.even.negative", "Expected %s to be odd")
    assert:register("assertion", "even", function(_, arguments)
      return arguments[1] % 2 == 0
    end, "assertion.even.positive", "assertion.even.negative")
    assert.is_even(2)
    assert.is_not_even(3)
    assert.are.equal("Expected (number) 3 to be even",
      message_of(assert.is_even, 3))
    assert:unregister("assertion", "even")
    assert.error_matches(function() assert.is_even(2) end, "even")
  end)
end)

describe("messages", function()
  for name, case in pairs {
    equal = {
      function() assert.are.equal(1, "1") end,
      "Expected objects to be equal.\nPassed in:\n(string) '1'\n"
        .. "Expected:\n(number) 1",
    },
    ["not equal"] = {
      function() assert.are_not.equal(1, 1) end,
      "Expected objects to not be equal.\nPassed in:\n(number) 1\n"
        .. "Did not expect:\n(number) 1",
    },
    own = {
      function() assert.is_true(false, "the door is open") end,
      "the door is open\nExpected objects to be the same.\nPassed in:\n"
        .. "(boolean) false\nExpected:\n(boolean) true",
    },
    type = {
      function() assert.is_string(nil) end,
      "Expected objects to be the same.\nPassed in:\n(nil)\n"
        .. "Expected:\ntype string",
    },
    truthy = {
      function() assert.is_truthy(nil) end,
      "Expected to be truthy, but value was:\n(nil)",
    },
    near = {
      function() assert.is_near(1, 3, 1) end,
      "Expected values to be near.\nPassed in:\n(number) 3\nExpected:\n"
        .. "(number) 1 +/- 1",
    },
    ["no error"] = {
      function() assert.has_error(function() end) end,
      "Expected a different error.\nCaught:\n(no error)\nExpected:\n(error)",
    },
    ["another error"] = {
      function()
        assert.has_error(function() error("one") end, "two")
      end,
      "Expected a different error.\nCaught:\n(string) 'one'\n"
        .. "Expected:\n(string) 'two'",
    },
    ["an error"] = {
      function() assert.has_no.errors(function() error("one") end) end,
      "Expected no error, but caught:\n(string) 'one'",
    },
    match = {
      function() assert.matches("^b", "a") end,
      "Expected strings to match.\nPassed in:\n(string) 'a'\n"
        .. "Expected:\n(string) '^b'",
    },
    ["an unknown word"] = {
      function() assert.is_blue(1) end,
      "luassert: unknown modifier/assertion: 'is_blue'",
    },
    ["too few arguments"] = {
      function() assert.are.equal(1) end,
      "the 'equals' function requires a minimum of 2 arguments, got: 1",
    },
  } do
    it("of " .. name, function()
      local got = message_of(case[1]):gsub("^%S+:%d+: ", "")
      assert.are.equal(case[2], got)
    end)
  end

  it("mark where tables differ", function()
    local got = message_of(assert.are.same, {1, {x = 1, y = {}}},
      {1, {x = 2, y = {}}})
    got = got:gsub("table: 0x%x+", "table")
    assert.are.equal("Expected objects to be the same.\nPassed in:\n(table) {\n"
      .. "  [1] = 1\n *[2] = {\n   *[x] = 2\n    [y] = { } } }\nExpected:\n"
      .. "(table) {\n  [1] = 1\n *[2] = {\n   *[x] = 1\n    [y] = { } } }", got)
  end)
end)
