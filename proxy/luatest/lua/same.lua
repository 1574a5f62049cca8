-- Deep comparing and copying of tables, with cycles. Metatables do not count.

local next, pairs, rawget, type = next, pairs, rawget, type

local same = {}

-- Whether a value is one of luassert's matchers, or a spy; match.lua and
-- spy.lua set them.
function same.is_matcher()
  return false
end

same.is_spy = same.is_matcher

local compare

local function compare_tables(a, b, seen, crumbs)
  local pair = seen[a]
  if pair and pair[b] then
    return true
  end
  pair = pair or {}
  pair[b], seen[a] = true, pair
  for k, v in next, a do
    if not compare(v, rawget(b, k), seen, crumbs) then
      crumbs[#crumbs + 1] = k
      return false
    end
  end
  for k in next, b do
    if rawget(a, k) == nil then
      crumbs[#crumbs + 1] = k
      return false
    end
  end
  return true
end

function compare(a, b, seen, crumbs)
  if a == b then
    return true
  end
  if same.is_matcher(a) then
    return a(b)
  end
  if type(a) ~= "table" or type(b) ~= "table" then
    return false
  end
  return compare_tables(a, b, seen, crumbs)
end

-- Whether the two are the same, and if not the keys that lead to the first
-- difference, innermost first. A matcher in a stands for what it matches.
function same.compare(a, b)
  local crumbs = {}
  return compare(a, b, {}, crumbs), crumbs
end

-- Whether no two values of a table are equal, or with deep the same.
function same.is_unique(list, deep)
  for k, v in pairs(list) do
    for other, w in pairs(list) do
      if k ~= other and (v == w or deep and same.compare(v, w)) then
        return false
      end
    end
  end
  return true
end

-- A copy of a value as it is now, metatables and all.
function same.copy(v, seen)
  if type(v) ~= "table" or same.is_matcher(v) or same.is_spy(v) then
    return v
  end
  seen = seen or {}
  if seen[v] then
    return seen[v]
  end
  local copy = {}
  seen[v] = copy
  for k, item in pairs(v) do
    copy[same.copy(k, seen)] = same.copy(item, seen)
  end
  local ok, mt = pcall(getmetatable, v)
  if ok and type(mt) == "table" then
    pcall(setmetatable, copy, mt)
  end
  return copy
end

return same
