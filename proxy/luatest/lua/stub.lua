-- Stubs are spies that answer by themselves: stub(t, "key").returns(1).

local error, select, setmetatable, type, unpack = error, select, setmetatable,
  type, unpack

local callable = require "luassert.assertions".callable
local spy = require "luassert.spy"

local stub = {}

local function always(...)
  local n, values = select("#", ...), {...}
  return function()
    return unpack(values, 1, n)
  end
end

local function check(t, key)
  if type(t) ~= "table" or key == nil then
    error("stub.new(): Can only create stub on a table key, call with 2 "
      .. "params; table, key", 3)
  elseif t[key] ~= nil and not callable(t[key]) then
    error("stub.new(): The element for which to create a stub must either "
      .. "be callable, or be nil", 3)
  end
end

-- on_call_with(...): answers for these arguments alone
local function special(s, lists, answers)
  return function(...)
    local wanted = spy.copies(...)
    local function set(f)
      lists[#lists + 1], answers[wanted] = wanted, f
      return s
    end
    return {
      returns = function(...) return set(always(...)) end,
      invokes = set,
    }
  end
end

function stub.new(t, key, ...)
  if t == nil and key == nil then
    t, key = {}, ""
  end
  check(t, key)
  local first = ...
  local default = select("#", ...) == 1 and callable(first) and first
    or always(...)
  local former = t[key]
  local lists, answers = {}, {}
  t[key] = function(...)
    local chosen = spy.choose(lists, spy.list(...))
    return (chosen and answers[chosen] or default)(...)
  end
  local s = spy.on(t, key)

  function s.revert(self)
    if not self.reverted then
      t[key] = former
      self.reverted = true
    end
    return former
  end

  function s.returns(...)
    default = always(...)
    return s
  end

  function s.invokes(f)
    default = f
    return s
  end

  s.by_default = {returns = s.returns, invokes = s.invokes}
  s.on_call_with = special(s, lists, answers)
  return s
end

return setmetatable(stub, {
  __call = function(_, ...) return stub.new(...) end,
})
