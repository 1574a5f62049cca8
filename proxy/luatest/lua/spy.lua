-- Spies watch calls: spy.on(t, "key"), spy.new(f); stub.lua builds on them.
--
-- A call is kept twice: its arguments as they are (refs), for match.ref, and
-- as copies (vals), for they may change after the call.

local error, ipairs, select, setmetatable, tostring, type = error, ipairs,
  select, setmetatable, tostring, type
local getmetatable = getmetatable

local assert = require "luassert.assert"
local common = require "luassert.assertions"
local format = require "perigee.spec.format"
local match = require "luassert.match"
local same = require "perigee.spec.same"

local callable, say_why = common.callable, common.say_why

local spy = {}
local methods = {}
local mt = {__index = methods}

local function list(...)
  return setmetatable({n = select("#", ...), ...}, format.arguments)
end

local function kept(...)
  local refs = list(...)
  local vals = list()
  vals.n = refs.n
  for i = 1, refs.n do
    vals[i] = same.copy(refs[i])
  end
  return {refs = refs, vals = vals}
end

local function fits(expected, call)
  if expected.n ~= call.vals.n then
    return false
  end
  for i = 1, expected.n do
    local wanted = expected[i]
    local got = match.is_ref_matcher(wanted) and call.refs[i] or call.vals[i]
    if match.is_matcher(wanted) then
      if not wanted(got) then
        return false
      end
    elseif not same.compare(wanted, got) then
      return false
    end
  end
  return true
end

-- The last of calls whose arguments fit, as values; else the last call's.
local function last_that_fits(calls, expected)
  for i = #calls, 1, -1 do
    if fits(expected, calls[i]) then
      return true, calls[i].vals
    end
  end
  local last = calls[#calls]
  return false, last and last.vals
end

-- Among lists of arguments, the first that a call fits.
function spy.choose(lists, call)
  for _, one in ipairs(lists) do
    if fits(one, {refs = call, vals = call}) then
      return one
    end
  end
  return nil
end

spy.list = list

-- Arguments as they are now.
function spy.copies(...)
  return kept(...).vals
end

local function noted(self, ...)
  self.returnvals[#self.returnvals + 1] = kept(...)
  return ...
end

function mt.__call(self, ...)
  self.calls[#self.calls + 1] = kept(...)
  return noted(self, self.callback(...))
end

function methods.revert(self)
  if not self.reverted then
    if self.target_table and self.target_key ~= nil then
      self.target_table[self.target_key] = self.callback
    end
    self.reverted = true
  end
  return self.callback
end

function methods.clear(self)
  self.calls, self.returnvals = {}, {}
  return self
end

function methods.called(self, times, compare)
  local n = #self.calls
  if times or compare then
    compare = compare or function(count, wanted) return count == wanted end
    return compare(n, times), n
  end
  return n > 0, n
end

function methods.called_with(self, arguments)
  return last_that_fits(self.calls, arguments)
end

function methods.returned_with(self, arguments)
  return last_that_fits(self.returnvals, arguments)
end

function spy.new(callback)
  callback = callback or function() end
  if not callable(callback) then
    error("Cannot spy on type '" .. type(callback)
      .. "', only on functions or callable elements", 2)
  end
  local s = setmetatable({calls = {}, returnvals = {}, callback = callback},
    mt)
  assert:add_spy(s)
  return s
end

function spy.on(t, key)
  local s = spy.new(t[key])
  s.target_table, s.target_key = t, key
  t[key] = s
  return s
end

function spy.is_spy(v)
  return type(v) == "table" and getmetatable(v) == mt
end

same.is_spy = spy.is_spy

-- assertions: assert.spy(s).was.called(2)

local function chosen(state, arguments)
  state.payload = arguments[1]
  say_why(state, arguments[2])
end

assert:register("modifier", "spy", chosen)
assert:register("modifier", "stub", chosen)

local function payload(state, name)
  local s = rawget(state, "payload")
  if type(s) == "function" then
    error("When calling 'spy(aspy)', 'aspy' must not be the original "
      .. "function, but the spy function replacing the original", 0)
  elseif not spy.is_spy(s) then
    error("'" .. name .. "' must be chained after 'spy(aspy)'", 0)
  end
  return s
end

local function called(state, arguments, compare)
  local s, times = payload(state, "called"), arguments[1]
  if not times and not state.mod then
    state.mod, times = true, 0
  end
  local ok, count = s:called(times, compare)
  arguments[1], arguments[2] = tostring(times or ">0"), tostring(count)
  arguments.n, arguments.nofmt = 2, {true, true}
  return ok
end

common.texts("called",
  "Expected to be called %s time(s), but was called %s time(s)",
  "Expected not to be called exactly %s time(s), but it was.")
common.assertion("called", called)

for _, c in ipairs {
  {"called_at_least", "at least", "called_less_than",
    function(n, wanted) return n >= wanted end},
  {"called_at_most", "at most", "called_more_than",
    function(n, wanted) return n <= wanted end},
  {"called_more_than", "more than", "called_at_most",
    function(n, wanted) return n > wanted end},
  {"called_less_than", "less than", "called_at_least",
    function(n, wanted) return n < wanted end},
} do
  local name, words, opposite, compare = c[1], c[2], c[3], c[4]
  common.texts(name, "Expected to be called " .. words
    .. " %s time(s), but was called %s time(s)", "")
  assert:register("assertion", name, function(state, arguments)
    return called(state, arguments, compare)
  end, "assertion." .. name .. ".positive",
    "assertion." .. opposite .. ".positive")
end

local function with(name)
  common.assertion(name, function(state, arguments)
    local expected = list(unpack(arguments, 1, arguments.n))
    local ok, seen = payload(state, name)[name](
      rawget(state, "payload"), expected)
    arguments[1], arguments[2], arguments.n = seen, expected, 2
    return ok
  end)
end

common.texts("called_with", "Function was never called with matching "
  .. "arguments.\nCalled with (last call if any):\n%s\nExpected:\n%s",
  "Function was called with matching arguments at least once.\n"
  .. "Called with (last matching call):\n%s\nDid not expect:\n%s")
common.texts("returned_with", "Function never returned matching arguments.\n"
  .. "Returned (last call if any):\n%s\nExpected:\n%s",
  "Function returned matching arguments at least once.\n"
  .. "Returned (last matching call):\n%s\nDid not expect:\n%s")
with("called_with")
with("returned_with")

return setmetatable(spy, {
  __call = function(_, ...) return spy.new(...) end,
})
