-- ngx.location.capture and capture_multi: subrequests.
--
-- A subrequest is an exchange of its own, made and moved by the host, on this
-- VM. What it shall be travels as text: each string as its length, a colon and
-- its bytes. What came of all of them comes back as 32-bit words and bytes:
--
--   status, truncated, length of the body, number of fields,
--   for each field: length of its name, of its value (bit 31: a number),
--   body, names and values, padded to the next word
--
-- Waiting threads are not woken for single subrequests: one op for all.

local P = ...

local ffi = require "ffi"
local bit = require "bit"

local C = ffi.C
local ffi_string = ffi.string
local band, rshift = bit.band, bit.rshift
local error, type, tostring, tonumber = error, type, tostring, tonumber
local rawget, next, pcall, unpack, select = rawget, next, pcall, unpack,
  select
local new_tab = require "table.new"
local concat, nkeys = table.concat, require "table.nkeys"
local lower = string.lower

local vm, ngx = P.vm, P.ngx
local HANDLER = P.HANDLER_PHASES
local fields = P.request.fields
local REQ, SHARE, COPY, FORWARD = C.PG_SIDE_REQ, 1, 2, 4

local count = ffi.new("int32_t[2]")
local handed, last_key = P.handed, 0

local function add(parts, s)
  local n = parts.n
  parts[n + 1], parts[n + 2], parts[n + 3] = #s, ":", s
  parts.n = n + 3
end

-- Errors carry no position: the API functions add the script's.

local function query_option(v)
  local kind = type(v)
  if kind == "table" then
    return P.encode_args(v)
  elseif kind == "nil" then
    return ""
  elseif kind == "string" or kind == "number" then
    return tostring(v)
  end
  error("Bad args option value", 0)
end

local function pairs_option(parts, v, name)
  if v == nil then
    return add(parts, "0")
  end
  if type(v) ~= "table" then
    error("Bad " .. name .. " option value", 0)
  end
  add(parts, tostring(nkeys(v)))
  for key, value in next, v do
    if type(key) ~= "string" then
      error('attempt to use a non-string key in the "vars" option table', 0)
    end
    if type(value) ~= "string" and type(value) ~= "number" then
      error("attempt to use bad variable value type " .. type(value), 0)
    end
    add(parts, name == "vars" and lower(key) or key)
    add(parts, tostring(value))
  end
end

local function flag_option(v, name, flag)
  if v ~= nil and type(v) ~= "boolean" then
    error("Bad " .. name .. " option value", 0)
  end
  return v and flag or 0
end

local function method_option(v)
  if v == nil then
    return "GET"
  end
  if type(v) ~= "number" then
    error("Bad http request method", 0)
  end
  return P.methods[v] or "#" .. v
end

local function ctx_option(ctx)
  if ctx == nil then
    return "0"
  end
  if type(ctx) ~= "table" then
    error("Bad ctx option value type " .. type(ctx)
      .. ", expected a Lua table", 0)
  end
  last_key = last_key % 0x7fffffff + 1
  handed[last_key] = ctx
  return tostring(last_key)
end

local function body_option(v)
  if v == nil then
    return ""
  end
  if type(v) ~= "string" and type(v) ~= "number" then
    error("Bad http request body", 0)
  end
  return "=" .. tostring(v)
end

local none = {}

-- One of capture_multi's, counted from 0 in errors as in OpenResty.
local function describe(parts, query, index)
  if query == nil then
    error("only array-like tables are allowed", 0)
  end
  if type(query) ~= "table" then
    error("the query argument " .. index .. " is not a table, but a "
      .. type(query), 0)
  end
  if #query ~= 1 and #query ~= 2 then
    error("query argument " .. index .. " expecting one or two arguments", 0)
  end
  local uri, options = rawget(query, 1), rawget(query, 2)
  if options == nil then
    options = none
  elseif type(options) ~= "table" then
    error("expecting table as the 2nd argument for subrequest " .. index
      .. ", but got " .. type(options), 0)
  end
  local more = query_option(options.args)
  local rest = {n = 0}
  pairs_option(rest, options.vars, "vars")
  pairs_option(rest, options.headers, "headers")
  local flags = flag_option(options.share_all_vars, "share_all_vars", SHARE)
    + flag_option(options.copy_all_vars, "copy_all_vars", COPY)
    + (options.always_forward_body and FORWARD or 0)
  local method = method_option(options.method)
  local ctx = ctx_option(options.ctx)
  local body = body_option(options.body)
  if type(uri) ~= "string" and type(uri) ~= "number" then
    error("bad argument #1 to '?' (string expected, got "
      .. P.type_name(uri) .. ")", 0)
  end
  local path, args = P.parse_uri(tostring(uri))
  if not path then
    error("unsafe uri in argument #1: " .. uri, 0)
  end
  if more ~= "" then
    args = args == "" and more or args .. "&" .. more
  end
  add(parts, method)
  add(parts, path)
  add(parts, args)
  add(parts, tostring(flags))
  add(parts, ctx)
  add(parts, body)
  add(parts, concat(rest, "", 1, rest.n))
end

local function describe_all(queries)
  local parts = {n = 0}
  for i = 1, #queries do
    describe(parts, rawget(queries, i), i - 1)
  end
  return concat(parts, "", 1, parts.n)
end

-- The fields of this request as scripts see them.
local function own_fields(s)
  local list = fields(s, REQ, 0, count)
  local n = count[0]
  local parts = {n = 0}
  for i = 0, n - 1 do
    local f = list[i]
    add(parts, ffi_string(f.name.p, f.name.n))
    add(parts, ffi_string(f.value.p, f.value.n))
  end
  return concat(parts, "", 1, parts.n)
end

-- Reads one result from the 32-bit words at w; returns what lies behind it.
local function result(w)
  local body_n, n = w[2], w[3]
  local bytes = ffi.cast("const char *", w + 4 + 2 * n)
  local header = new_tab(0, n)
  local res = {
    status = w[0], truncated = w[1] ~= 0, header = header,
    body = ffi_string(bytes, body_n),
  }
  local at = body_n
  for i = 0, n - 1 do
    local name_n, value_n = w[4 + 2 * i], w[5 + 2 * i]
    local plain = band(value_n, 0x7fffffff)
    local name = ffi_string(bytes + at, name_n)
    local value = ffi_string(bytes + at + name_n, plain)
    at = at + name_n + plain
    if plain ~= value_n then
      value = tonumber(value)
    end
    local have = header[name]
    if have == nil then
      header[name] = value
    elseif type(have) == "table" then
      have[#have + 1] = value
    else
      header[name] = {have, value}
    end
  end
  return res, w + 4 + 2 * n + rshift(at + 3, 2)
end

-- Called by an API function, not in a tail call.
local function capture_all(queries)
  local n = #queries
  if n == 0 then
    error("at least one subrequest should be specified", 3)
  end
  local s = vm.slot
  if s == nil then
    error("no request object found", 3)
  end
  P.within(s, HANDLER, 3)
  local ok, text = pcall(describe_all, queries)
  if not ok then
    error(text, 3)
  end
  local own = own_fields(s)
  local t = vm.thread
  t.op_int = n
  t.op_str.p, t.op_str.n = text, #text
  t.op_str2.p, t.op_str2.n = own, #own
  P.wait(C.PG_OP_CAPTURE)
  local data = vm.slot["in"][C.PG_IN_DATA]
  if t.res ~= 0 then
    error(data.n > 0 and ffi_string(data.p, data.n) or "no memory", 3)
  end
  local results = new_tab(n, 0)
  local w = ffi.cast("const uint32_t *", data.p)
  for i = 1, n do
    results[i], w = result(w)
  end
  return unpack(results, 1, n)
end

ngx.location = {}

function ngx.location.capture(...)
  local n = select("#", ...)
  if n ~= 1 and n ~= 2 then
    error("expecting one or two arguments", 2)
  end
  local res = capture_all({{...}})
  return res
end

function ngx.location.capture_multi(...)
  local n = select("#", ...)
  if n ~= 1 then
    error("only one argument is expected, but got " .. n, 2)
  end
  local queries = ...
  if type(queries) ~= "table" then
    P.argument_error(1, "table expected, got " .. P.type_name(queries), 2)
  end
  return capture_all(queries)
end
