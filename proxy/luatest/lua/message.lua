-- A request as a spec writes it, {method, path, query, headers, body, host},
-- completed and as bytes.

local pairs, tostring, type = pairs, tostring, type

local headers = require "perigee.spec.headers"

local message = {}

local function escaped(v)
  return (tostring(v):gsub("[^%w%-_%.~]", function(c)
    return ("%%%02X"):format(c:byte())
  end))
end

-- The query of a table, in the order of its names, or of a text.
local function query_of(query)
  if type(query) ~= "table" then
    return query
  end
  local names, out = {}, {}
  for name in pairs(query) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = query[name]
    out[#out + 1] = value == true and escaped(name)
      or escaped(name) .. "=" .. escaped(value)
  end
  return table.concat(out, "&")
end

-- The fields of what a spec wrote; bytes is the whole request.
function message.request(given)
  local path, query = (given.path or "/"):match("^([^?]*)%??(.*)$")
  if given.query ~= nil then
    query = query_of(given.query)
  end
  local list = headers.write(given.headers)
  local host = given.host or "localhost"
  if headers.has(list, "host") then
    host = headers.read(list).host
  else
    table.insert(list, 1, {"Host", host})
  end
  local body = given.body
  if type(body) == "table" then
    body = query_of(body)
    if not headers.has(list, "content-type") then
      list[#list + 1] = {"Content-Type", "application/x-www-form-urlencoded"}
    end
  end
  if body and not headers.has(list, "content-length")
    and not headers.has(list, "transfer-encoding")
  then
    list[#list + 1] = {"Content-Length", tostring(#body)}
  end
  local method = given.method or (body and "POST" or "GET")
  local target = path .. (query ~= "" and "?" .. query or "")
  local head = method .. " " .. target .. " HTTP/" .. (given.version or "1.1")
    .. "\r\n" .. headers.text(list) .. "\r\n"
  return {
    method = method, path = path, query = query, target = target, host = host,
    head = head, body = body or "", bytes = head .. (body or ""),
  }
end

return message
