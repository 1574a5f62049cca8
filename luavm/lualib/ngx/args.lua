-- The query of the request: ngx.req.get_uri_args, set_uri_args,
-- get_post_args; and ngx.encode_args, decode_args, escape_uri, unescape_uri.

local P = ...

local ffi = require "ffi"

local C = ffi.C
local ffi_string = ffi.string
local error, type, tostring, select, next = error, type, tostring,
  select, next
local concat = table.concat
local new_tab = require "table.new"
local clear_tab = require "table.clear"

local ngx = P.ngx
local req = ngx.req
local slot_of_request, variable = P.slot_of_request, P.variable
local check_string, check_integer = P.check_string, P.check_integer
local request = P.request
local split, escape, unescape = request.pairs, request.escape,
  request.unescape
local set_text, get_body = request.set_text, request.body
local ARGS, COMPONENT = C.PG_VAR_ARGS, C.PG_ESCAPE_COMPONENT

local MAX = 100
local count = ffi.new("int32_t[2]")
local out = ffi.new("pg_str")

local function collect(text, n, max, each, args)
  local list = split(text, n, max, each, count)
  local found = count[0]
  if found < 0 then
    error("no memory", 3)
  end
  args = args or new_tab(0, found)
  for i = 0, found - 1 do
    local f = list[i]
    local name = ffi_string(f.name.p, f.name.n)
    local value = true
    if f.value.p ~= nil then
      value = ffi_string(f.value.p, f.value.n)
    end
    local have = args[name]
    if have == nil then
      args[name] = value
    elseif type(have) == "table" then
      have[#have + 1] = value
    else
      args[name] = {have, value}
    end
  end
  if count[1] ~= 0 then
    return args, "truncated"
  end
  return args
end

function req.get_uri_args(max, tab)
  local s = slot_of_request()
  if tab then
    clear_tab(tab)
  end
  if not max or max < 0 then
    max = MAX
  end
  local query = variable(s, ARGS)
  if query.n == 0 then
    return tab or {}
  end
  return collect(query.p, query.n, max, 0, tab)
end

function req.get_post_args(...)
  local n = select("#", ...)
  if n > 1 then
    error("expecting 0 or 1 arguments but seen " .. n, 2)
  end
  local max = MAX
  if n == 1 then
    max = check_integer((...), 1)
  end
  local s = slot_of_request()
  if bit.band(s.flags, C.PG_F_DISCARDED) ~= 0 then
    return {}
  end
  if s.vars[C.PG_VAR_BODY_FILE].p ~= nil then
    return nil, "request body in temp file not supported"
  end
  if get_body(s, out) == 0 then
    if bit.band(s.flags, C.PG_F_BODY_READ) ~= 0 then
      return {}
    end
    error("no request body found; maybe you should turn on "
      .. "lua_need_request_body?", 2)
  end
  if out.n == 0 then
    return {}
  end
  return collect(out.p, out.n, max, 1)
end

local function escaped(s, set)
  if escape(set, s, #s, out) ~= 0 then
    error("no memory", 3)
  end
  if out.n == #s then
    return s
  end
  return ffi_string(out.p, out.n)
end

local function value_error(v)
  error("attempt to use " .. P.type_name(v) .. " as query arg value", 0)
end

local function append(parts, n, key, v)
  if v == true then
    parts[n + 1] = key
    return n + 1
  end
  if v == false then
    return n
  end
  if type(v) == "number" then
    v = tostring(v)
  elseif type(v) ~= "string" then
    value_error(v)
  end
  parts[n + 1] = key .. "=" .. escaped(v, COMPONENT)
  return n + 1
end

-- a table as a query; errors carry no position, the callers add theirs
local function encode(t)
  local parts, n = {}, 0
  for key, v in next, t do
    if type(key) ~= "string" then
      error('attempt to use a non-string key in the "args" option table', 0)
    end
    key = escaped(key, COMPONENT)
    if type(v) == "table" then
      for _, item in next, v do
        n = append(parts, n, key, item)
      end
    else
      n = append(parts, n, key, v)
    end
  end
  return concat(parts, "&", 1, n)
end

P.encode_args = encode

-- called by an API function, not in a tail call
local function encode_checked(t)
  local ok, text = pcall(encode, t)
  if not ok then
    error(text, 3)
  end
  return text
end

function req.set_uri_args(...)
  local n = select("#", ...)
  if n ~= 1 then
    error("expecting 1 argument but seen " .. n, 2)
  end
  local args = ...
  local s = slot_of_request()
  if type(args) == "table" then
    args = encode_checked(args)
  elseif type(args) == "number" then
    args = tostring(args)
  elseif type(args) == "string" then
    args = escaped(args, C.PG_ESCAPE_QUERY)
  else
    P.argument_error(1, "string, number, or table expected, but got "
      .. P.type_name(args), 2)
  end
  if set_text(s, C.PG_EDIT_ARGS, 0, args, #args) ~= 0 then
    error("no memory", 2)
  end
end

function ngx.encode_args(...)
  local n = select("#", ...)
  if n ~= 1 then
    error("expecting 1 argument but seen " .. n, 2)
  end
  local args = ...
  if type(args) ~= "table" then
    P.argument_error(1, "table expected, got " .. P.type_name(args), 2)
  end
  local text = encode_checked(args)
  return text
end

function ngx.decode_args(...)
  local n = select("#", ...)
  if n ~= 1 and n ~= 2 then
    error("expecting 1 or 2 arguments but seen " .. n, 2)
  end
  local text, max = ...
  text = check_string(text, 1)
  max = n == 2 and check_integer(max, 2) or MAX
  return collect(text, #text, max, 1)
end

function ngx.escape_uri(s, set)
  if type(s) ~= "string" then
    s = s and tostring(s) or ""
  end
  if set == nil then
    set = COMPONENT
  elseif type(set) ~= "number" then
    error('"type" is not a number', 2)
  elseif set < 0 or set > C.PG_ESCAPE_MAIL then
    error('"type" ' .. set .. " out of range", 2)
  end
  return escaped(s, set)
end

function ngx.unescape_uri(s)
  if type(s) ~= "string" then
    s = s and tostring(s) or ""
  end
  if unescape(s, #s, out) ~= 0 then
    error("no memory", 2)
  end
  return ffi_string(out.p, out.n)
end
