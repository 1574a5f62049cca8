-- ngx.resp.get_headers

local P = ...

local ffi = require "ffi"
local bor = require "bit".bor

local C = ffi.C
local ffi_string = ffi.string
local error = error

local slot_of_request, collect = P.slot_of_request, P.collect_fields
local check_integer = P.check_integer
local fields, values = P.request.fields, P.request.values
local REQ, RESP = C.PG_SIDE_REQ, C.PG_SIDE_RESP

local count = ffi.new("int32_t[2]")
local found = ffi.new("pg_str[1]")
local MAX = 100

-- What nginx will write as Connection: the answer's head is not made yet.
local function connection(s)
  if s.status == 101 then
    return "upgrade"
  end
  local keep = s.http_minor ~= 0
  if values(s, REQ, "connection", 10, found, 1) > 0 then
    local said = ffi_string(found[0].p, found[0].n):lower()
    if said:find("close", 1, true) then
      keep = false
    elseif said:find("keep-alive", 1, true) then
      keep = true
    end
  end
  return keep and "keep-alive" or "close"
end

function P.ngx.resp.get_headers(max, raw)
  if max == nil then
    max = MAX
  else
    max = check_integer(max, 1)
  end
  local s = slot_of_request()
  local list = fields(s, RESP, raw and 0 or 1, count)
  local n = count[0]
  if n < 0 then
    error("no memory", 2)
  end
  -- connection counts as one of them, as in nginx
  local cut = max > 0 and n + 1 > max
  if cut then
    n = max - 1
  end
  local headers = collect(list, n, raw)
  headers.connection = connection(s)
  if cut then
    return headers, "truncated"
  end
  return headers
end

local write_field, set_status = P.write_response_field, P.set_status
local unsafe_byte = P.request.unsafe_byte

-- require "ngx.resp" of lua-resty-core
package.loaded["ngx.resp"] = {
  version = P.resty_core_version,

  add_header = function(name, value)
    write_field(name, value, true)
  end,

  -- status with a text of its own behind it
  set_status = function(status, reason)
    reason = P.check_string(reason, 2)
    if unsafe_byte(reason, #reason) >= 0 then
      error("bad argument #2 to 'set_status' (a control character)", 2)
    end
    set_status(status, reason)
  end,

  -- If-Match, If-Modified-Since and the like do not count
  bypass_if_checks = function()
    local s = slot_of_request()
    s.flags = bor(s.flags, C.PG_F_UNCONDITIONAL)
  end,
}
