-- ngx.header, ngx.status, ngx.headers_sent, ngx.is_subrequest.
--
-- "..." where it is not used: see slot.lua.
--
-- Fields of the answer are read from the lent head with the log of edits
-- replayed over it, and written into the log.

-- luacheck: ignore 212/...
local P = ...

local ffi = require "ffi"
local bit = require "bit"

local C = ffi.C
local ffi_string = ffi.string
local band, bor = bit.band, bit.bor
local error, type, tostring, tonumber = error, type, tostring, tonumber
local new_tab = require "table.new"

local vm = P.vm
local variable = P.variable
local slot_of_request, is_sent = P.slot_of_request, P.is_sent
local values, set_field = P.request.values, P.request.set_field
local log, edit = P.core.log, P.core.edit

local RESP = C.PG_SIDE_RESP
local SET, ADD, CLEAR = C.PG_FIELD_SET, C.PG_FIELD_ADD, C.PG_FIELD_CLEAR
local MEMORY, VALUE = C.PG_E_MEMORY, C.PG_E_VALUE
local ERR = 4            -- the level, as ngx.ERR

local MAX_VALUES = 100
local found = ffi.new("pg_str[?]", MAX_VALUES)

local function complain(text)
  log(vm, ERR, text, #text)
end

local COMMITTED, TYPELESS = C.PG_F_COMMITTED, C.PG_F_TYPELESS
local DEFAULT_TYPE = C.PG_VAR_DEFAULT_TYPE

local function is_content_type(name)
  return #name == 12 and name:lower():gsub("_", "-") == "content-type"
end

-- The head that print has sent, as scripts see it, has the default type.
local function default_type(s, name)
  if band(s.flags, bor(COMMITTED, TYPELESS)) ~= COMMITTED
    or not is_content_type(name)
  then
    return nil
  end
  local default = variable(s, DEFAULT_TYPE)
  return default.n > 0 and ffi_string(default.p, default.n) or nil
end

local function read(_, name, ...)
  local s = slot_of_request()
  if type(name) ~= "string" then
    name = tostring(name)
  end
  local n = values(s, RESP, name, #name, found, MAX_VALUES)
  if n == 0 then
    return default_type(s, name)
  end
  if n == 1 then
    return ffi_string(found[0].p, found[0].n)
  end
  if n < 0 then
    error("no memory", 2)
  end
  if n > MAX_VALUES then
    n = MAX_VALUES
  end
  local all = new_tab(n, 0)
  for i = 1, n do
    all[i] = ffi_string(found[i - 1].p, found[i - 1].n)
  end
  return all
end

-- Errors name the script's line: see req.lua.
local function put(s, mode, name, value, ...)
  if type(value) ~= "string" then
    value = tostring(value)
  end
  local rc = set_field(s, RESP, mode, name, #name, value, #value)
  if rc == 0 then
    return value
  end
  error(rc == VALUE and "failed to set header" or "no memory", 4)
end

local function write_field(name, value, add, ...)
  local s = slot_of_request()
  if type(name) ~= "string" then
    name = tostring(name)
  end
  if is_sent(s) then
    return complain("attempt to set ngx.header.HEADER after sending out "
      .. "response headers")
  end
  if type(value) == "table" then
    local n = #value
    for i = 1, n do
      value[i] = put(s, (add or i > 1) and ADD or SET, name, value[i])
    end
    if n > 0 or add then
      return
    end
    value = nil
  end
  if value ~= nil then
    put(s, add and ADD or SET, name, value)
  elseif add then
    error("invalid header value", 3)
  elseif set_field(s, RESP, CLEAR, name, #name, nil, 0) == MEMORY then
    error("no memory", 3)
  elseif is_content_type(name) then
    s.flags = bor(s.flags, TYPELESS)
  end
end

P.ngx.header = setmetatable({}, {
  __index = read,
  __newindex = function(_, name, value, ...)
    write_field(name, value, false)
  end,
})

P.write_response_field = write_field

local function get_status(...)
  return slot_of_request().status
end

local function set_reason(s, reason)
  if edit(s, C.PG_EDIT_REASON, 0, nil, 0, reason, #reason) ~= 0 then
    error("no memory", 3)
  end
  s.flags = bor(s.flags, C.PG_F_REASON)
end

local function set_status(status, reason, ...)
  local s = slot_of_request()
  if type(status) ~= "number" then
    status = tonumber(status)
    if not status then
      error("bad status: number expected", 3)
    end
  end
  if is_sent(s) then
    return complain("attempt to set ngx.status after sending out response "
      .. "headers")
  end
  if status < 100 or status > 999 then
    return complain("invalid HTTP status code " .. status)
  end
  s.status = status
  s.flags = bor(s.flags, C.PG_F_STATUS_SET)
  if reason or band(s.flags, C.PG_F_REASON) ~= 0 then
    set_reason(s, reason or "")
  end
end

P.getters.status = get_status
P.setters.status = set_status
P.set_status = set_status

function P.getters.headers_sent(...)
  return is_sent(slot_of_request())
end

function P.getters.is_subrequest(...)
  return band(slot_of_request().flags, C.PG_F_SUBREQUEST) ~= 0
end
