-- Values as messages of failures show them, in luassert's form:
--
--   (string) 'text'   (number) 1   (nil)   (table: 0x...) {
--                                            [a] = 1 }

local floor, huge, rep = math.floor, math.huge, string.rep
local concat, sort = table.concat, table.sort
local ipairs, next, tostring, type = ipairs, next, tostring, type

local same = require "perigee.spec.same"

local format = {
  formatters = {}, -- those of assert:add_formatter, the newest first
  parameters = {   -- those of assert:set_parameter
    TableFormatLevel = 3,
    TableFormatShowRecursion = false,
    TableErrorHighlightCharacter = "*",
  },
}

local function number(n)
  if n ~= n then
    return "NaN"
  elseif n == huge then
    return "Inf"
  elseif n == -huge then
    return "-Inf"
  end
  return (("%.20g"):format(n))
end

local function plain(v)
  if type(v) == "string" then
    return "'" .. v .. "'"
  elseif type(v) == "number" then
    return number(v)
  end
  return tostring(v)
end

local ranks = {number = 1, boolean = 2, string = 3, table = 4}

local function in_order(t)
  local keys, n = {}, #t
  for k in next, t do
    keys[#keys + 1] = k
  end
  local function rank(k)
    if type(k) == "number" and k >= 1 and k <= n and floor(k) == k then
      return 0
    end
    return ranks[type(k)] or 5
  end
  sort(keys, function(a, b)
    local x, y = rank(a), rank(b)
    if x ~= y then
      return x < y
    end
    if type(a) == "number" or type(a) == "string" then
      return a < b
    end
    return tostring(a) < tostring(b)
  end)
  return keys
end

local function lines(t, level, above, crumbs)
  local most = format.parameters.TableFormatLevel
  if next(t) == nil then
    return "{ }"
  elseif most >= 0 and level > most then
    return "{ ... more }"
  elseif above[t] then
    return "{ ... recursive }"
  end
  above[t] = true
  local crumb = crumbs and crumbs[#crumbs - level + 1]
  local out = {"{"}
  for _, k in ipairs(in_order(t)) do
    local marked = crumb ~= nil and k == crumb
    local mark = marked and format.parameters.TableErrorHighlightCharacter
      or ""
    local v = rawget(t, k)
    if type(v) == "table" then
      v = lines(v, level + 1, above, marked and crumbs or nil)
    else
      v = plain(v)
    end
    out[#out + 1] = "\n" .. rep(" ", level * 2 - #mark) .. mark .. "["
      .. (type(k) == "number" and number(k) or tostring(k)) .. "] = " .. v
  end
  above[t] = nil
  return concat(out) .. " }"
end

local function address(t)
  local mt = getmetatable(t)
  if mt == nil then
    return "(" .. tostring(t) .. ") "
  end
  if type(mt) ~= "table" or not pcall(setmetatable, t, nil) then
    return "(table) "
  end
  local text = "(" .. tostring(t) .. ") "
  setmetatable(t, mt)
  return text
end

local function matcher(m)
  if m.name == "_" then
    return "(matcher) _ *anything*"
  end
  local args = {}
  for i = 1, m.arguments.n do
    args[i] = format.value(m.arguments[i])
  end
  return "(matcher) " .. (m.mod and "is." or "no.") .. m.name .. "("
    .. concat(args, ", ") .. ")"
end

local by_type = {
  ["nil"] = function() return "(nil)" end,
  string = function(v) return "(string) " .. plain(v) end,
  number = function(v) return "(number) " .. number(v) end,
  boolean = function(v) return "(boolean) " .. tostring(v) end,
  userdata = function(v) return "(userdata) '" .. tostring(v) .. "'" end,
  thread = function(v) return "(thread) '" .. tostring(v) .. "'" end,
  cdata = function(v) return "(cdata) '" .. tostring(v) .. "'" end,
  ["function"] = function(v)
    local info = debug.getinfo(v, "S")
    return ("%s @ line %d in %s"):format(tostring(v), info.linedefined,
      info.source)
  end,
  table = function(v, crumbs)
    return address(v) .. lines(v, 1, {}, crumbs)
  end,
}

-- A list of arguments: {n = ..., ...}.
function format.list(list)
  local out = {}
  for i = 1, list.n do
    out[i] = format.value(list[i])
  end
  return "(values list) (" .. concat(out, ", ") .. ")"
end

-- The text of v; crumbs are same.compare's.
function format.value(v, crumbs)
  for _, f in ipairs(format.formatters) do
    local text = f(v, {crumbs = crumbs})
    if text ~= nil then
      return text
    end
  end
  if same.is_matcher(v) then
    return matcher(v)
  end
  if type(v) == "table" and getmetatable(v) == format.arguments then
    return format.list(v)
  end
  return by_type[type(v)](v, crumbs)
end

-- The metatable that marks a table as a list of arguments.
format.arguments = {}

return format
