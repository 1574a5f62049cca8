-- ngx.req: method, URI, fields of the request. Its body is in body.lua, its
-- query in args.lua.

-- luacheck: ignore 212/...
local P = ...

local ffi = require "ffi"
local bit = require "bit"

local C = ffi.C
local ffi_string = ffi.string
local error, type, tostring, select = error, type, tostring, select
local rawget, setmetatable = rawget, setmetatable
local lower, gsub, format, byte = string.lower, string.gsub, string.format,
  string.byte
local new_tab = require "table.new"

local slot_of_request, within = P.slot_of_request, P.within
local variable = P.variable
local check_string, check_boolean = P.check_string, P.check_boolean
local request = P.request
local fields, set_field, set_text = request.fields, request.set_field,
  request.set_text
local raw_head, escape, unsafe_byte = request.raw_head, request.escape,
  request.unsafe_byte

local REQ = C.PG_SIDE_REQ
local SET, ADD, CLEAR = C.PG_FIELD_SET, C.PG_FIELD_ADD, C.PG_FIELD_CLEAR
local MEMORY, VALUE = C.PG_E_MEMORY, C.PG_E_VALUE
local METHOD = C.PG_VAR_METHOD

local count = ffi.new("int32_t[2]")
local out = ffi.new("pg_str")
local MAX = 100

local req = P.ngx.req

-- headers.user_agent and headers["User-Agent"] find "user-agent". Spelled
-- once per name; the memory is bounded as names may come from clients.
local spelled, spelled_n = {}, 0

local function spell(name, ...)
  local s = spelled[name]
  if s then
    return s
  end
  s = gsub(lower(name), "_", "-")
  if spelled_n >= 1000 then
    spelled, spelled_n = {}, 0
  end
  spelled_n = spelled_n + 1
  spelled[name] = s
  return s
end

local headers_mt = {
  __index = function(headers, name, ...)
    return rawget(headers, spell(name))
  end,
}

-- Makes the table of get_headers from n fields; also ngx.resp's.
function P.collect_fields(list, n, raw)
  local headers = new_tab(0, n > 0 and n + 1 or 0)
  for i = 0, n - 1 do
    local f = list[i]
    local name = ffi_string(f.name.p, f.name.n)
    local value = ffi_string(f.value.p, f.value.n)
    local have = headers[name]
    if have == nil then
      headers[name] = value
    elseif type(have) == "table" then
      have[#have + 1] = value
    else
      headers[name] = {have, value}
    end
  end
  if not raw then
    setmetatable(headers, headers_mt)
  end
  return headers
end

local collect = P.collect_fields

function req.get_headers(max, raw)
  local s = slot_of_request()
  local list = fields(s, REQ, raw and 0 or 1, count)
  local n = count[0]
  if n < 0 then
    error("no memory", 2)
  end
  if not max or max < 0 then
    max = MAX
  end
  if max > 0 and n > max then
    return collect(list, max, raw), "truncated"
  end
  return collect(list, n, raw)
end

-- Errors below name the script's line: put and clear are called by
-- write_field, that by an API function, and none of them in a tail call.
local function put(s, mode, name, value)
  if type(value) ~= "string" then
    value = tostring(value)
  end
  local rc = set_field(s, REQ, mode, name, #name, value, #value)
  if rc == 0 then
    return value
  end
  error(rc == VALUE and "failed to set header" or "no memory", 4)
end

local function write_field(name, value, add)
  local s = slot_of_request()
  if name == nil then
    error("bad 'name' argument: string expected, got nil", 3)
  end
  if type(name) ~= "string" then
    name = tostring(name)
  end
  if type(value) == "table" then
    local n = #value
    for i = 1, n do
      value[i] = put(s, (add or i > 1) and ADD or SET, name, value[i])
    end
    if n > 0 then
      return
    end
    if add then
      error("bad 'value' argument: non-empty table expected", 3)
    end
    value = nil
  end
  if value ~= nil then
    put(s, add and ADD or SET, name, value)
  elseif add then
    error("bad 'value' argument: string or table expected, got nil", 3)
  elseif set_field(s, REQ, CLEAR, name, #name, nil, 0) == MEMORY then
    error("no memory", 3)
  end
end

P.write_request_field = write_field

function req.set_header(name, value)
  write_field(name, value, false)
end

function req.clear_header(name)
  write_field(name == nil and "nil" or name, nil, false)
end

-- require "ngx.req" of lua-resty-core
package.loaded["ngx.req"] = {
  version = P.resty_core_version,
  add_header = function(name, value)
    write_field(name, value, true)
  end,
}

function req.get_method()
  local m = variable(slot_of_request(), METHOD)
  return ffi_string(m.p, m.n)
end

-- the bits of nginx's ngx_http_request_t.method, which ngx.HTTP_* are
local methods = {
  [0x0002] = "GET", [0x0004] = "HEAD", [0x0008] = "POST", [0x0010] = "PUT",
  [0x0020] = "DELETE", [0x0040] = "MKCOL", [0x0080] = "COPY",
  [0x0100] = "MOVE", [0x0200] = "OPTIONS", [0x0400] = "PROPFIND",
  [0x0800] = "PROPPATCH", [0x1000] = "LOCK", [0x2000] = "UNLOCK",
  [0x4000] = "PATCH", [0x8000] = "TRACE",
}

P.methods = methods

function req.set_method(method)
  local s = slot_of_request()
  if type(method) ~= "number" then
    error("bad method number", 2)
  end
  local name = methods[method]
  if not name then
    error("unsupported HTTP method: " .. method, 2)
  end
  if set_text(s, C.PG_EDIT_METHOD, 0, name, #name) ~= 0 then
    error("no memory", 2)
  end
end

-- Text for an error about a URI with a byte that splits lines.
function P.unsafe_uri(uri, at, what)
  escape(C.PG_ESCAPE_LOG, uri, #uri, out)
  return format('unsafe byte "0x%02x" in %s "%s"', byte(uri, at + 1), what,
    ffi_string(out.p, out.n))
end

function req.set_uri(...)
  local n = select("#", ...)
  if n < 1 or n > 3 then
    error("expecting 1, 2 or 3 arguments but seen " .. n, 2)
  end
  local uri, jump, binary = ...
  local s = slot_of_request()
  uri = check_string(uri, 1)
  if uri == "" then
    error("attempt to use zero-length uri", 2)
  end
  if n == 3 then
    check_boolean(binary, 3)
  end
  local at = binary and -1 or unsafe_byte(uri, #uri)
  if at >= 0 then
    error(P.unsafe_uri(uri, at, "uri")
      .. " (maybe you want to set the 'binary' argument?)", 2)
  end
  if n >= 2 then
    check_boolean(jump, 2)
  end
  if jump then
    within(s, P.REWRITE_PHASE, 2)
    P.check_pending(2)
  end
  if set_text(s, C.PG_EDIT_URI, jump and 1 or 0, uri, #uri) ~= 0 then
    error("no memory", 2)
  end
  s.flags = bit.bor(s.flags, C.PG_F_INTERNAL)
  if jump then
    -- the run ends here; the record tells Go to match again
    P.leave_context(s)
    P.leave(s, 0)
  end
end

function req.http_version()
  local minor = slot_of_request().http_minor
  if minor <= 1 then
    return 1 + minor / 10
  end
  return minor / 10
end

function req.raw_header(without_line)
  local s = slot_of_request()
  if s.http_minor >= 20 then
    error("http2 requests not supported yet", 2)
  end
  raw_head(s, without_line and 1 or 0, out)
  return ffi_string(out.p, out.n)
end

function req.start_time()
  return slot_of_request().start_time
end

function req.is_internal()
  return bit.band(slot_of_request().flags, C.PG_F_INTERNAL) ~= 0
end
