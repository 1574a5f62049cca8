-- URIs that scripts name: of subrequests and of ngx.exec.

local P = ...

local find, sub, char = string.find, string.sub, string.char
local tonumber, concat = tonumber, table.concat

-- nginx's reading of percent signs: a sequence without two digits is dropped
-- up to the byte that is none, but a first byte that is none stays.
local function decode(path)
  local parts, n, from = {}, 0, 1
  while true do
    local at = find(path, "%", from, true)
    if not at then
      break
    end
    n = n + 1
    parts[n] = sub(path, from, at - 1)
    from = at + 3
    local code = tonumber(sub(path, at + 1, at + 2), 16)
    if find(path, "^%x%x", at + 1) then
      n = n + 1
      parts[n] = char(code)
    elseif not find(path, "^%x", at + 1) then
      n = n + 1
      parts[n] = sub(path, at + 1, at + 1)
      from = at + 2
    end
  end
  parts[n + 1] = sub(path, from)
  return concat(parts, "", 1, n + 1)
end

local function unsafe(path)
  return path == "" or find(path, "\0", 1, true)
    or find(path, "^%.%./") or path == ".."
    or find(path, "/../", 1, true) or sub(path, -3) == "/.."
end

-- The decoded path and the query of a URI, or nil: it is not safe to use, as
-- nginx sees it. Segments and slashes stay as they are.
function P.parse_uri(uri)
  local mark = find(uri, "?", 1, true)
  local path = mark and sub(uri, 1, mark - 1) or uri
  local args = mark and sub(uri, mark + 1) or ""
  if unsafe(path) then
    return nil
  end
  if find(path, "%", 1, true) then
    path = decode(path)
    if unsafe(path) then
      return nil
    end
  end
  return path, args
end

