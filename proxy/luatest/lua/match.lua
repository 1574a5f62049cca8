-- Matchers: stand for arguments in called_with and for parts of tables in
-- same: match._ is anything, match.is_string() any string.

local ipairs, pairs, select, setmetatable, tonumber, tostring, type =
  ipairs, pairs, select, setmetatable, tonumber, tostring, type
local getmetatable, insert = getmetatable, table.insert

local assert = require "luassert.assert"
local same = require "perigee.spec.same"

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

for _, name in ipairs {"boolean", "number", "string", "table", "nil",
  "userdata", "function", "thread"} do
  add(name, function()
    return function(v) return type(v) == name end
  end)
end
for _, wanted in ipairs {true, false} do
  add(tostring(wanted), function()
    return function(v) return v == wanted end
  end)
end
add("truthy", function()
  return function(v) return v ~= nil and v ~= false end
end)
add("falsy", function()
  return function(v) return not v end
end)
local function equals(_, arguments)
  local wanted = arguments[1]
  return function(v) return v == wanted end
end
add("equals", equals)
add("equal", equals)
-- the very object, though arguments are kept as copies: see spy.lua
add("ref", equals)
add("same", function(_, arguments)
  local wanted = same.copy(arguments[1])
  return function(v) return (same.compare(wanted, v)) end
end)
local function matches(_, arguments)
  local pattern, init, plain = arguments[1], arguments[2], arguments[3]
  return function(v)
    if type(v) ~= "string" and type(v) ~= "number" then
      return false
    end
    return tostring(v):find(pattern, init, plain) ~= nil
  end
end
add("matches", matches)
add("match", matches)
add("near", function(_, arguments)
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

-- of several matchers
local function combined(decide)
  return function(_, arguments)
    return function(v)
      local hits = 0
      for _, m in ipairs(arguments) do
        hits = hits + (m(v) and 1 or 0)
      end
      return decide(hits, #arguments)
    end
  end
end
add("all_of", combined(function(hits, n) return hits == n end))
add("any_of", combined(function(hits) return hits > 0 end))
add("none_of", combined(function(hits) return hits == 0 end))

add("unique", function(_, arguments)
  local deep = arguments[1]
  return function(list)
    for k, v in pairs(list) do
      for other, w in pairs(list) do
        if k ~= other and (v == w or deep and same.compare(v, w)) then
          return false
        end
      end
    end
    return true
  end
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
