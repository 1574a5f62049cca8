-- Matchers: stand for arguments in called_with and for parts of tables in
-- same: match._ is anything, match.is_string() any string.

local getmetatable, insert, ipairs, pcall, select, setmetatable, tonumber =
  getmetatable, table.insert, ipairs, pcall, select, setmetatable, tonumber
local tostring, type = tostring, type

local assert = require "luassert.assert"
local common = require "luassert.assertions"
local same = require "perigee.spec.same"

local need, refuse = common.need, common.refuse

local registered = assert.registered
local matcher = {}

function matcher.__call(self, value)
  return (not not self.callback(value)) == self.mod
end

function same.is_matcher(v)
  return type(v) == "table" and getmetatable(v) == matcher
end

local chain = {}

function chain.__index(self, key)
  for token in key:lower():gmatch("[^_]+") do
    insert(self.tokens, token)
  end
  return self
end

function chain.__call(self, ...)
  local found, kind = assert.names(self.tokens, "matcher"), nil
  local arguments = {n = select("#", ...), ...}
  for _, name in ipairs(found) do
    local modifier = registered.modifier[name]
    kind = registered.matcher[name] or kind
    if modifier then
      modifier.callback(self, arguments)
    end
  end
  self.tokens = {}
  if not kind then
    return self
  end
  return setmetatable({
    name = kind.name, mod = self.mod, arguments = arguments,
    callback = kind.callback(self, arguments),
  }, matcher)
end

local function add(name, make)
  assert:register("matcher", name, make)
end

-- A matcher without arguments.
local function plain(name, decide)
  add(name, function() return decide end)
end

for _, name in ipairs {"boolean", "number", "string", "table", "nil",
  "userdata", "function", "thread"} do
  plain(name, function(v) return type(v) == name end)
end
plain("true", function(v) return v == true end)
plain("false", function(v) return v == false end)
plain("truthy", function(v) return v ~= nil and v ~= false end)
plain("falsy", function(v) return not v end)

local function equals(_, arguments)
  need(arguments, 1, "equals")
  local wanted = arguments[1]
  return function(v) return v == wanted end
end
add("equals", equals)
add("equal", equals)

add("same", function(_, arguments)
  need(arguments, 1, "same")
  local wanted = same.copy(arguments[1])
  return function(v) return (same.compare(wanted, v)) end
end)

local objects = {table = true, ["function"] = true, thread = true,
  userdata = true, cdata = true}

-- The very object, though arguments are kept as copies: see spy.lua.
add("ref", function(_, arguments)
  need(arguments, 1, "ref")
  local wanted = arguments[1]
  if not objects[type(wanted)] then
    refuse(1, "ref", "object", wanted)
  end
  return function(v) return v == wanted end
end)

local function matches(_, arguments)
  need(arguments, 1, "matches")
  local pattern, init, raw = arguments[1], arguments[2], arguments[3]
  if type(pattern) ~= "string" then
    refuse(1, "matches", "string", pattern)
  elseif init ~= nil and not tonumber(init) then
    refuse(2, "matches", "number", init)
  end
  return function(v)
    local kind = type(v)
    return (kind == "string" or kind == "number")
      and tostring(v):find(pattern, init, raw) ~= nil
  end
end
add("matches", matches)
add("match", matches)

add("near", function(_, arguments)
  need(arguments, 2, "near")
  for i = 1, 2 do
    if not tonumber(arguments[i]) then
      refuse(i, "near", "number or object convertible to a number",
        arguments[i])
    end
  end
  local wanted, off = tonumber(arguments[1]), tonumber(arguments[2])
  return function(v)
    v = tonumber(v)
    return v and v >= wanted - off and v <= wanted + off
  end
end)

add("has_error", function(_, arguments)
  local wanted = arguments[1]
  return function(f)
    local ok, err = pcall(f)
    return not ok and (wanted == nil or err == wanted)
  end
end)

-- A matcher of matchers: decide gets how many fit, and how many there are.
local function combined(name, decide)
  add(name, function(_, arguments)
    need(arguments, 1, name)
    for i = 1, arguments.n do
      if not same.is_matcher(arguments[i]) then
        refuse(i, name, "matcher", arguments[i])
      end
    end
    return function(v)
      local hits = 0
      for _, m in ipairs(arguments) do
        hits = hits + (m(v) and 1 or 0)
      end
      return decide(hits, arguments.n)
    end
  end)
end
combined("all_of", function(hits, n) return hits == n end)
combined("any_of", function(hits) return hits > 0 end)
combined("none_of", function(hits) return hits == 0 end)

add("unique", function(_, arguments)
  local deep = arguments[1]
  return function(list) return same.is_unique(list, deep) end
end)

return setmetatable({
  _ = setmetatable({
    name = "_", mod = true, arguments = {n = 0},
    callback = function() return true end,
  }, matcher),
  is_matcher = same.is_matcher,
  is_ref_matcher = function(v)
    return same.is_matcher(v) and v.name == "ref"
  end,
}, {
  __index = function(_, key)
    return setmetatable({mod = true, tokens = {}}, chain)[key]
  end,
})
