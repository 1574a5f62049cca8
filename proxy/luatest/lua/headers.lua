-- Header fields, of requests and responses: tables whose keys may be asked for
-- in any case and with "_" for "-". Several fields of one name are a list.

local ipairs, pairs, rawget, setmetatable, tostring, type = ipairs, pairs,
  rawget, setmetatable, tostring, type

local headers = {}

local function plain(name)
  return (name:lower():gsub("_", "-"))
end

-- A table of a list of {name, value}; pairs() gives the names as they came.
function headers.read(list)
  local t, names = {}, {}
  for _, pair in ipairs(list or {}) do
    local name, value = pair[1], pair[2]
    local known = names[plain(name)]
    if not known then
      names[plain(name)] = name
      t[name] = value
    elseif type(t[known]) == "table" then
      t[known][#t[known] + 1] = value
    else
      t[known] = {t[known], value}
    end
  end
  return setmetatable(t, {__index = function(_, key)
    local name = type(key) == "string" and names[plain(key)]
    return name and rawget(t, name)
  end})
end

-- A list of {name, value} of a table that a spec has written; a value may be a
-- list. Names are in order, so that requests are the same each time.
function headers.write(t)
  local names, list = {}, {}
  for name in pairs(t or {}) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = t[name]
    if type(value) == "table" then
      for _, one in ipairs(value) do
        list[#list + 1] = {name, tostring(one)}
      end
    else
      list[#list + 1] = {name, tostring(value)}
    end
  end
  return list
end

-- Whether a list has a field.
function headers.has(list, name)
  for _, pair in ipairs(list) do
    if plain(pair[1]) == plain(name) then
      return true
    end
  end
  return false
end

-- The text of a list: "Name: value\r\n"...
function headers.text(list)
  local out = {}
  for _, pair in ipairs(list) do
    out[#out + 1] = pair[1] .. ": " .. pair[2] .. "\r\n"
  end
  return table.concat(out)
end

return headers
