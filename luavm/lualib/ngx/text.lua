-- Digests, base64 and SQL quoting. (URI escaping and query pairs: args.lua.)

local P = ...

local ffi = require "ffi"

local C = ffi.C
local ffi_new, ffi_string = ffi.new, ffi.string
local error, type, tostring, select = error, type, tostring, select
local floor = math.floor

local ngx = P.ngx
local check_string = P.check_string
local text = P.text
local c_md5, c_sha1, c_hmac_sha1, c_hex, c_crc32 = text.md5, text.sha1,
  text.hmac_sha1, text.hex, text.crc32
local c_base64, c_unbase64 = text.base64, text.unbase64
local c_quoted_len, c_quote_sql = text.quoted_len, text.quote_sql

local PLAIN, NO_PADDING, URL = C.PG_BASE64_PLAIN, C.PG_BASE64_NO_PADDING,
  C.PG_BASE64_URL

local SMALL = 4096
local small = ffi_new("char[?]", SMALL)

-- n bytes, until the next call that asks for some
local function room(n)
  if n <= SMALL then
    return small
  end
  return ffi_new("char[?]", n)
end

local function string_of(s)
  if type(s) == "string" then
    return s
  end
  return s and tostring(s) or ""
end

function ngx.md5_bin(s)
  s = string_of(s)
  c_md5(s, #s, small)
  return ffi_string(small, 16)
end

function ngx.md5(s)
  s = string_of(s)
  c_md5(s, #s, small)
  c_hex(small, 16, small + 16)
  return ffi_string(small + 16, 32)
end

function ngx.sha1_bin(s)
  s = string_of(s)
  c_sha1(s, #s, small)
  return ffi_string(small, 20)
end

function ngx.hmac_sha1(...)
  local n = select("#", ...)
  if n ~= 2 then
    error("expecting 2 arguments, but got " .. n, 2)
  end
  local key, s = ...
  key = check_string(key, 1)
  s = check_string(s, 2)
  c_hmac_sha1(key, #key, s, #s, small)
  return ffi_string(small, 20)
end

function ngx.crc32_short(s)
  s = string_of(s)
  return c_crc32(s, #s)
end

ngx.crc32_long = ngx.crc32_short

local function encode(s, form)
  local n = #s
  local to = room(floor((n + 2) / 3) * 4)
  return ffi_string(to, c_base64(s, n, form, to))
end

local function decode(s, form)
  local n = #s
  local to = room(floor((n + 3) / 4) * 3)
  local len = c_unbase64(s, n, form, to)
  if len < 0 then
    return nil
  end
  return ffi_string(to, len)
end

function ngx.encode_base64(s, no_padding)
  if no_padding and no_padding ~= true then
    error("bad no_padding: boolean expected, got " .. type(no_padding), 2)
  end
  return encode(string_of(s), no_padding and NO_PADDING or PLAIN)
end

function ngx.decode_base64(s)
  if type(s) ~= "string" then
    error("string argument only", 2)
  end
  return decode(s, PLAIN)
end

local base64 = {version = P.resty_core_version}

function base64.encode_base64url(s)
  if type(s) ~= "string" then
    return nil, "must provide a string"
  end
  return encode(s, URL)
end

function base64.decode_base64url(s)
  if type(s) ~= "string" then
    return nil, "must provide a string"
  end
  local bytes = decode(s, URL)
  if not bytes then
    return nil, "invalid input"
  end
  return bytes
end

package.preload["ngx.base64"] = function()
  return base64
end

function ngx.quote_sql_str(...)
  if select("#", ...) ~= 1 then
    error("expecting one argument", 2)
  end
  local s = check_string((...), 1)
  local n = c_quoted_len(s, #s)
  local to = room(n)
  c_quote_sql(s, #s, to)
  return ffi_string(to, n)
end
