-- mock(t) spies on every function in a table and the tables in it; mock(t,
-- true) stubs them.

local next, setmetatable, type = next, setmetatable, type

local callable = require "luassert.assertions".callable
local spy = require "luassert.spy"
local stub = require "luassert.stub"

local mock = {}

local function each(t, visit, seen)
  if type(t) ~= "table" or seen[t] or spy.is_spy(t) then
    return
  end
  seen[t] = true
  local keys = {}
  for k in next, t do
    keys[#keys + 1] = k
  end
  for i = 1, #keys do
    local k = keys[i]
    local v = t[k]
    if spy.is_spy(v) or callable(v) then
      visit(t, k, v)
    else
      each(v, visit, seen)
    end
  end
end

function mock.new(t, stubbed, ...)
  local values = spy.list(...)
  each(t, function(at, k, v)
    if spy.is_spy(v) then
      return
    elseif stubbed then
      stub(at, k, unpack(values, 1, values.n))
    else
      spy.on(at, k)
    end
  end, {})
  return t
end

local function of_spies(name)
  return function(t)
    each(t, function(_, _, v)
      if spy.is_spy(v) then
        v[name](v)
      end
    end, {})
    return t
  end
end

mock.clear = of_spies("clear")
mock.revert = of_spies("revert")

return setmetatable(mock, {
  __call = function(_, ...) return mock.new(...) end,
})
