-- The assertions of luassert, registered with assert.lua.
--
-- Each is called with the chain's state and the list of arguments, which it
-- leaves in the order in which the message shows them: what was passed in,
-- then what was expected. A message of the caller's own stands behind the
-- arguments.

local error, getmetatable, ipairs, pairs, pcall, tonumber, tostring, type =
  error, getmetatable, ipairs, pairs, pcall, tonumber, tostring, type
local remove = table.remove

local assert = require "luassert.assert"
local same = require "perigee.spec.same"
local say = require "say"

local function text_like(v)
  if type(v) == "string" or type(v) == "number" then
    return tostring(v)
  end
  local mt = type(v) == "table" and getmetatable(v)
  if type(mt) == "table" and mt.__tostring then
    return tostring(v)
  end
  return nil
end

local function callable(v)
  local mt = getmetatable(v)
  return type(v) == "function" or type(mt) == "table" and mt.__call ~= nil
end

local function need(arguments, n, name)
  if arguments.n < n then
    error(("the '%s' function requires a minimum of %d arguments, got: %d")
      :format(name, n, arguments.n), 0)
  end
end

local function refuse(i, name, wanted, v)
  error(("bad argument #%d to '%s' (%s expected, got %s)")
    :format(i, name, wanted, type(v)), 0)
end

local function say_why(state, message)
  if message ~= nil then
    state.failure_message = message
  end
end

local function swap(arguments)
  arguments[1], arguments[2] = arguments[2], arguments[1]
end

local function assertion(name, callback, about)
  assert:register("assertion", name, callback,
    "assertion." .. (about or name) .. ".positive",
    "assertion." .. (about or name) .. ".negative")
end

local function texts(name, positive, negative)
  say:set("assertion." .. name .. ".positive", positive)
  say:set("assertion." .. name .. ".negative", negative)
end

for _, word in ipairs {"is", "are", "was", "has", "have", "does", "a", "an",
  "the"} do
  assert:register("modifier", word, function() end)
end
for _, word in ipairs {"not", "no"} do
  assert:register("modifier", word, function(state)
    state.mod = not state.mod
  end)
end
assert:register("modifier", "message", function(state, arguments)
  say_why(state, arguments[1])
end)

-- equal, same

texts("equals", "Expected objects to be equal.\nPassed in:\n%s\nExpected:\n%s",
  "Expected objects to not be equal.\nPassed in:\n%s\nDid not expect:\n%s")
texts("same", "Expected objects to be the same.\nPassed in:\n%s\nExpected:\n%s",
  "Expected objects to not be the same.\nPassed in:\n%s\nDid not expect:\n%s")

local function equals(state, arguments)
  need(arguments, 2, "equals")
  swap(arguments)
  say_why(state, arguments[3])
  return arguments[1] == arguments[2]
end

assertion("equals", equals)
assertion("equal", equals, "equals")

assertion("same", function(state, arguments)
  need(arguments, 2, "same")
  local ok, crumbs = same.compare(arguments[1], arguments[2])
  swap(arguments)
  arguments.fmtargs = {{crumbs = crumbs}, {crumbs = crumbs}}
  say_why(state, arguments[3])
  return ok
end)

-- near, match, unique

texts("near", "Expected values to be near.\nPassed in:\n%s\nExpected:\n"
  .. "%s +/- %s", "Expected values to not be near.\nPassed in:\n%s\n"
  .. "Did not expect:\n%s +/- %s")
texts("matches", "Expected strings to match.\nPassed in:\n%s\nExpected:\n%s",
  "Expected strings not to match.\nPassed in:\n%s\nDid not expect:\n%s")
texts("unique", "Expected object to be unique:\n%s",
  "Expected object to not be unique:\n%s")

assertion("near", function(state, arguments)
  need(arguments, 3, "near")
  for i = 1, 3 do
    if not tonumber(arguments[i]) then
      refuse(i, "near", "number or object convertible to a number",
        arguments[i])
    end
  end
  local wanted, got = tonumber(arguments[1]), tonumber(arguments[2])
  local off = tonumber(arguments[3])
  swap(arguments)
  arguments.nofmt = {[3] = true}
  say_why(state, arguments[4])
  return got >= wanted - off and got <= wanted + off
end)

-- The optional arguments behind pattern and text: init, plain, and the
-- caller's message, wherever it stands.
local function options(arguments)
  for i = 3, arguments.n do
    local v = arguments[i]
    if v and type(v) ~= "boolean" and not tonumber(v) then
      return remove(arguments, i)
    end
  end
  return nil
end

local function find(text, pattern, init, plain)
  if plain then
    if text:find(pattern, init, true) then
      return {pattern}
    end
    return nil
  end
  local found = {text:match(pattern, init)}
  return found[1] ~= nil and found or nil
end

local function matches(state, arguments)
  need(arguments, 2, "matches")
  local message = options(arguments)
  local pattern, text = arguments[1], text_like(arguments[2])
  if type(pattern) ~= "string" then
    refuse(1, "matches", "string", pattern)
  elseif not text then
    refuse(2, "matches", "string or object convertible to a string",
      arguments[2])
  end
  swap(arguments)
  say_why(state, message)
  local found = find(text, pattern, arguments[3], arguments[4])
  return found ~= nil, found or {}
end

assertion("matches", matches)
assertion("match", matches, "matches")

assertion("unique", function(state, arguments)
  local deep, message = arguments[2], arguments[3]
  if type(deep) ~= "boolean" and deep ~= nil then
    deep, message = message, deep
  end
  say_why(state, message)
  return same.is_unique(arguments[1], deep)
end)

-- true, false, truthy, falsy, types

texts("truthy", "Expected to be truthy, but value was:\n%s",
  "Expected to not be truthy, but value was:\n%s")
texts("falsy", "Expected to be falsy, but value was:\n%s",
  "Expected to not be falsy, but value was:\n%s")

for _, wanted in ipairs {true, false} do
  assertion(tostring(wanted), function(state, arguments)
    say_why(state, arguments[2])
    arguments[2], arguments.n = wanted, 2
    return arguments[1] == wanted
  end, "same")
end

assertion("truthy", function(state, arguments)
  need(arguments, 1, "truthy")
  say_why(state, arguments[2])
  return arguments[1] ~= nil and arguments[1] ~= false
end)

assertion("falsy", function(state, arguments)
  need(arguments, 1, "falsy")
  say_why(state, arguments[2])
  return not arguments[1]
end)

for _, name in ipairs {"boolean", "number", "string", "table", "nil",
  "userdata", "function", "thread"} do
  assertion(name, function(state, arguments)
    say_why(state, arguments[2])
    arguments[2], arguments.n = "type " .. name, 2
    arguments.nofmt = {[2] = true}
    return type(arguments[1]) == name
  end, "same")
end

-- error

texts("error", "Expected a different error.\nCaught:\n%s\nExpected:\n%s",
  "Expected no error, but caught:\n%s")

-- Calls the function and leaves {caught, expected} for the message. Text is
-- given without its "file:line: ", which is the position and not the error.
local function caught(arguments, name)
  if not callable(arguments[1]) then
    refuse(1, name, "function or callable object", arguments[1])
  end
  local ok, err = pcall(arguments[1])
  if ok then
    err = nil
  end
  if type(err) == "string" then
    err = err:gsub("^.-:%d+: ", "", 1)
  end
  arguments.nofmt = {ok, arguments[2] == nil}
  arguments[1] = err
  if ok then
    arguments[1] = "(no error)"
  end
  if arguments[2] == nil then
    arguments[2] = "(error)"
  end
  arguments.n = 2
  return ok, err
end

local function has_error(state, arguments)
  local wanted = arguments[2]
  say_why(state, arguments[3])
  local ok, err = caught(arguments, "error")
  if ok or wanted == nil then
    return not ok, {n = 2, err, wanted}
  end
  local got = err
  if type(wanted) == "string" then
    err = text_like(err) or err
    got = err
  elseif type(wanted) == "number" and type(err) == "string" then
    got = tonumber(err)
  end
  return (same.compare(wanted, got)), {n = 2, err, wanted}
end

local function error_matches(state, arguments)
  need(arguments, 2, "error_matches")
  local message = options(arguments)
  local pattern, init, plain = arguments[2], arguments[3], arguments[4]
  if pattern ~= nil and type(pattern) ~= "string" then
    refuse(2, "error_matches", "string", pattern)
  end
  say_why(state, message)
  local ok, err = caught(arguments, "error_matches")
  if ok or err == nil then
    return not ok and pattern == nil, ok and {n = 2, nil, pattern} or {}
  end
  local text = text_like(err) or type(err) == "boolean" and tostring(err)
  local found = text and pattern and find(text, pattern, init, plain)
  return found ~= nil and found ~= false, found or {n = 2, err, pattern}
end

assertion("error", has_error)
assertion("errors", has_error, "error")
for _, name in ipairs {"error_matches", "error_match", "matches_error",
  "match_error"} do
  assertion(name, error_matches, "error")
end

-- the number of results of a call: assert.returned_arguments(2, f())

texts("returned_arguments",
  "Expected %s results(s) to be returned, but got %s",
  "Expected not %s results(s) to be returned, but got %s")

assertion("returned_arguments", function(_, arguments)
  local got = arguments.n - 1
  local wanted = arguments[1]
  arguments[1], arguments[2], arguments.n = wanted, got, 2
  arguments.nofmt = {true, true}
  return wanted == got
end)

-- holes in a list: assert.array({1, nil, 3}).has.no.holes(3)

texts("array_holes", "Expected array to have holes, but none was found.",
  "Expected array to not have holes, hole found at position: %s")

assert:register("modifier", "array", function(state, arguments)
  state.payload = arguments[1]
end)

assertion("holes", function(state, arguments)
  local list, n = state.payload, arguments[1]
  if type(list) ~= "table" then
    error("'holes' must be chained after 'array(a table)'", 0)
  end
  if not n then
    n = 0
    for k in pairs(list) do
      n = type(k) == "number" and k > n and k or n
    end
  end
  arguments.n, arguments.nofmt = 1, {true}
  for i = 1, n do
    if list[i] == nil then
      arguments[1] = i
      return true
    end
  end
  return false
end, "array_holes")

return {
  callable = callable, say_why = say_why, texts = texts,
  assertion = assertion, need = need, refuse = refuse,
}
