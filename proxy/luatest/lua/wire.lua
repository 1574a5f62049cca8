-- Values on their way between a spec and its host, as bytes: strings may hold
-- any byte, tables keep what their keys say. value.go is the other end.
--
--   z  t  f          nil, true, false
--   n1.5;            a number
--   s5:bytes         a string
--   {KEY VALUE ...}  a table

local concat, format, tostring, type = table.concat, string.format, tostring,
  type
local match, pairs, sub, tonumber = string.match, pairs, string.sub, tonumber
local error = error

local wire = {}

local put

local function put_table(out, t, depth)
  if depth > 50 then
    error("a table is nested too deeply, or contains itself", 0)
  end
  out[#out + 1] = "{"
  for k, v in pairs(t) do
    put(out, k, depth)
    put(out, v, depth)
  end
  out[#out + 1] = "}"
end

function put(out, v, depth)
  local kind = type(v)
  if kind == "string" then
    out[#out + 1] = format("s%d:", #v)
    out[#out + 1] = v
  elseif kind == "number" then
    out[#out + 1] = format("n%.17g;", v)
  elseif kind == "boolean" then
    out[#out + 1] = v and "t" or "f"
  elseif kind == "nil" then
    out[#out + 1] = "z"
  elseif kind == "table" then
    put_table(out, v, depth + 1)
  else
    error("a value of type " .. kind .. " cannot leave the spec: "
      .. tostring(v), 0)
  end
end

function wire.encode(v)
  local out = {}
  put(out, v, 0)
  return concat(out)
end

local get

local readers = {
  z = function(_, at) return nil, at end,
  t = function(_, at) return true, at end,
  f = function(_, at) return false, at end,
  n = function(s, at)
    local digits, after = match(s, "^([^;]+);()", at)
    return tonumber(digits), after
  end,
  s = function(s, at)
    local n, from = match(s, "^(%d+):()", at)
    n = tonumber(n)
    return sub(s, from, from + n - 1), from + n
  end,
  ["{"] = function(s, at)
    local t = {}
    while sub(s, at, at) ~= "}" do
      local k, v
      k, at = get(s, at)
      v, at = get(s, at)
      t[k] = v
    end
    return t, at + 1
  end,
}

function get(s, at)
  local read = readers[sub(s, at, at)]
  if not read then
    error("the host sent something else than a value at byte " .. at, 0)
  end
  return read(s, at + 1)
end

function wire.decode(s)
  return (get(s, 1))
end

return wire
