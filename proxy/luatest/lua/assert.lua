-- assert, with luassert's words: assert.are.equal(expected, passed).
--
-- A chain of words is spelt by indexing, then called:
--
--   assert . is_not . equal ( 1, 2 )
--            |  |      |      '-- arguments
--            |  |      '-- an assertion: decides
--            |  '-- a modifier that turns the decision round
--            '-- modifiers that only read well
--
-- Words are cut at "_": is_not_equal is the same. Called as a function alone
-- it is Lua's own assert.

local error, getmetatable, ipairs, pairs, rawget, select, setmetatable =
  error, getmetatable, ipairs, pairs, rawget, select, setmetatable
local concat, insert, remove = table.concat, table.insert, table.remove
local tostring, type = tostring, type

local format = require "perigee.spec.format"
local say = require "say"

local registered = {assertion = {}, modifier = {}, matcher = {}}

-- What a failed assertion raises. pcall in a spec may see it; as text it is
-- the message.
local failure = {}

failure.__index = failure
function failure.__tostring(self)
  return self.message
end

local assert_object = {registered = registered, failure = failure}

-- The words of a chain as names that are registered, from the last word on:
-- each takes as many words before it as still make a name.
local function names(tokens, kind)
  local found, last = {}, #tokens
  local function known(from)
    local name = concat(tokens, "_", from, last)
    return (registered[kind][name] or registered.modifier[name]) and name
  end
  while last > 0 do
    local first = last
    while first > 1 and not known(first) do
      first = first - 1
    end
    while first > 1 and registered[kind][concat(tokens, "_", first - 1, last)]
    do
      first = first - 1
    end
    if not known(first) then
      error("luassert: unknown modifier/" .. kind .. ": '"
        .. concat(tokens, "_", first, last) .. "'", 4)
    end
    insert(found, 1, known(first))
    last = first - 1
  end
  return found
end

assert_object.names = names

local function text_of(arguments)
  local texts = {}
  for i = 1, arguments.n do
    local v = arguments[i]
    if arguments.nofmt and arguments.nofmt[i] then
      texts[i] = tostring(v)
    else
      local more = arguments.fmtargs and arguments.fmtargs[i]
      texts[i] = format.value(v, more and more.crumbs)
    end
  end
  return texts
end

local function fail(self, assertion, arguments)
  local key = self.mod and assertion.positive or assertion.negative
  local message = key and say(key, text_of(arguments)) or "assertion failed!"
  local own = rawget(self, "failure_message")
  if own ~= nil then
    local mt = getmetatable(own)
    local shown = type(own) == "string" or type(mt) == "table"
      and mt.__tostring
    message = (shown and tostring(own) or format.value(own)) .. "\n" .. message
  end
  error(setmetatable({message = message}, failure), 0)
end

local function modify(self, found, ...)
  local arguments = {n = select("#", ...), ...}
  for _, name in ipairs(found) do
    local m = registered.modifier[name]
    if m then
      m.callback(self, arguments)
    end
  end
end

local chain = {}

function chain.__index(self, key)
  if type(key) ~= "string" then
    error("luassert: words are strings, not " .. type(key), 2)
  end
  for token in key:lower():gmatch("[^_]+") do
    insert(self.tokens, token)
  end
  return self
end

function chain.__call(self, ...)
  local found = names(self.tokens, "assertion")
  local assertion
  for _, name in ipairs(found) do
    assertion = registered.assertion[name] or assertion
  end
  modify(self, found, ...)
  if not assertion then
    self.tokens = {}
    return self
  end
  local arguments = {n = select("#", ...), ...}
  local ok, returns = assertion.callback(self, arguments)
  if (not ok) == self.mod then
    fail(self, assertion, arguments)
  end
  if returns then
    return unpack(returns, 1, returns.n or #returns)
  end
  return ...
end

-- Registers an assertion, a modifier or a matcher under a name. positive and
-- negative are keys of package say, or the messages themselves, with a %s for
-- each argument.
function assert_object.register(_, kind, name, callback, positive, negative)
  registered[kind] = registered[kind] or {}
  registered[kind][name:lower()] = {
    name = name:lower(), callback = callback,
    positive = positive, negative = negative,
  }
end

function assert_object.unregister(_, kind, name)
  registered[kind][name:lower()] = nil
end

function assert_object.add_formatter(_, f)
  insert(format.formatters, 1, f)
end

function assert_object.remove_formatter(_, f)
  for i, known in ipairs(format.formatters) do
    if known == f then
      remove(format.formatters, i)
      return
    end
  end
end

function assert_object.set_parameter(_, name, value)
  format.parameters[name] = value
end

function assert_object.get_parameter(_, name)
  return format.parameters[name]
end

function assert_object.format(_, arguments)
  arguments.n = arguments.n or #arguments
  for i, text in pairs(text_of(arguments)) do
    arguments[i] = text
  end
  return arguments
end

-- Levels choose a line for the message in luassert. Here the line of a failure
-- is always the spec's.
local levels = {}

function assert_object.level(_, level)
  return setmetatable({level = level}, levels)
end

function assert_object.get_level(_, v)
  return type(v) == "table" and getmetatable(v) == levels and v.level or nil
end

-- What spies have replaced since a snapshot comes back with its revert.
local spies = {}

function assert_object.add_spy(_, spy)
  spies[#spies + 1] = spy
end

local function copied(t)
  local copy = {}
  for k, v in pairs(t) do
    copy[k] = v
  end
  return copy
end

-- Spies, formatters and parameters as they are; revert brings them back.
function assert_object.snapshot()
  local from = #spies
  local formatters, parameters = copied(format.formatters),
    copied(format.parameters)
  return {
    revert = function()
      for i = #spies, from + 1, -1 do
        local spy = spies[i]
        spies[i] = nil
        spy:revert()
      end
      format.formatters, format.parameters = formatters, parameters
    end,
  }
end

function assert_object.is_failure(v)
  return type(v) == "table" and getmetatable(v) == failure
end

return setmetatable(assert_object, {
  __call = function(_, ...)
    local value, message = ...
    if value then
      return ...
    end
    if select("#", ...) < 2 then
      message = "assertion failed!"
    end
    error(message, 0)
  end,
  __index = function(_, key)
    return setmetatable({mod = true, tokens = {}}, chain)[key]
  end,
})
