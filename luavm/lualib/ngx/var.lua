-- ngx.var: nginx variables. What exists is decided in C (request_var.c);
-- here are only the checks of arguments and the texts of errors.

-- luacheck: ignore 212/...
local P = ...

local ffi = require "ffi"

local C = ffi.C
local ffi_string = ffi.string
local error, type, tostring = error, type, tostring
local lower = string.lower

local vm = P.vm
local slot_of_request = P.slot_of_request
local get_var, set_var = P.request.get_var, P.request.set_var
local MEMORY, FIXED = C.PG_E_MEMORY, C.PG_E_FIXED

local out = ffi.new("pg_str")

local NOT_FOUND = 'variable "%s" not found for writing; maybe it is a '
  .. 'built-in variable that is not changeable or you forgot to use '
  .. '"set $%s \'\';" in the config file to define it first'

-- "...": see slot.lua
local function read(_, name, ...)
  slot_of_request()
  if type(name) ~= "string" then
    if type(name) ~= "number" then
      error("bad variable name", 2)
    end
    -- a capture of the location's regular expression; $0 is none
    if name < 1 then
      return nil
    end
    name = tostring(name)
  end
  local rc = get_var(vm, name, #name, out)
  if rc == 1 then
    return ffi_string(out.p, out.n)
  end
  if rc == MEMORY then
    error("no memory", 2)
  end
  return nil
end

local function write(_, name, value, ...)
  local s = slot_of_request()
  if type(name) ~= "string" then
    error("bad variable name", 2)
  end
  local rc
  if value == nil then
    rc = set_var(s, name, #name, nil, 0, 1)
  else
    if type(value) ~= "string" then
      value = tostring(value)
    end
    rc = set_var(s, name, #name, value, #value, 0)
  end
  if rc == 0 then
    return
  end
  if rc == MEMORY then
    error("no memory", 2)
  end
  name = lower(name)
  if rc == FIXED then
    error('variable "' .. name .. '" not changeable', 2)
  end
  error(NOT_FOUND:format(name, name), 2)
end

P.ngx.var = setmetatable({}, {__index = read, __newindex = write})
