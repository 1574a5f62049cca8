-- ndk.set_var: the directives of set-misc-nginx-module that take one text and
-- give one, as functions: ndk.set_var.set_escape_uri("a/b").
--
-- A directive returns nil where nginx's fails.

local P = ...

local ffi = require "ffi"
local bit = require "bit"

local C = ffi.C
local error, tonumber, tostring, type = error, tonumber, tostring, type
local setmetatable = setmetatable
local byte, char, find, format, gsub, rep, sub = string.byte, string.char,
  string.find, string.format, string.gsub, string.rep, string.sub
local concat, floor = table.concat, math.floor
local band, bor, lshift, rshift = bit.band, bit.bor, bit.lshift, bit.rshift
local date = os.date

local ngx, vm = P.ngx, P.vm

local directives = {}

-- ---- URIs, base64, digests ----

local UNSAFE = '[%c "#%%&+/:;<=>?%[\\%]^{}\127-\255]'

local function percent(c)
  return format("%%%02X", byte(c))
end

function directives.set_escape_uri(text)
  return (gsub(text, UNSAFE, percent))
end

function directives.set_unescape_uri(text)
  return ngx.unescape_uri(text)
end

function directives.set_encode_base64(text)
  return ngx.encode_base64(text)
end

function directives.set_decode_base64(text)
  return ngx.decode_base64(text) or ""
end

function directives.set_encode_base64url(text)
  return (require "ngx.base64".encode_base64url(text))
end

function directives.set_decode_base64url(text)
  return (require "ngx.base64".decode_base64url(text)) or ""
end

function directives.set_md5(text)
  return ngx.md5(text)
end

local function encode_hex(text)
  local to = ffi.new("char[?]", 2 * #text)
  P.text.hex(text, #text, to)
  return ffi.string(to, 2 * #text)
end

directives.set_encode_hex = encode_hex

function directives.set_decode_hex(text)
  if #text % 2 ~= 0 or find(text, "%X") then
    return nil
  end
  return (gsub(text, "..", function(digits)
    return char(tonumber(digits, 16))
  end))
end

function directives.set_sha1(text)
  return encode_hex(ngx.sha1_bin(text))
end

-- ---- base32 in the extended hex alphabet of RFC 4648 ----

local DIGITS = "0123456789abcdefghijklmnopqrstuv"

function directives.set_encode_base32(text)
  local out, n, word, bits = {}, 0, 0, 0
  for i = 1, #text do
    word = bor(lshift(band(word, 0xff), 8), byte(text, i))
    bits = bits + 8
    while bits >= 5 do
      bits = bits - 5
      n = n + 1
      local at = band(rshift(word, bits), 31) + 1
      out[n] = sub(DIGITS, at, at)
    end
  end
  if bits > 0 then
    n = n + 1
    local at = band(lshift(word, 5 - bits), 31) + 1
    out[n] = sub(DIGITS, at, at)
  end
  return concat(out) .. rep("=", -n % 8)
end

function directives.set_decode_base32(text)
  text = gsub(text, "=.*", ""):lower()
  local short = #text % 8
  if short == 1 or short == 3 or short == 6 then
    return ""
  end
  local out, n, word, bits = {}, 0, 0, 0
  for i = 1, #text do
    local at = find(DIGITS, sub(text, i, i), 1, true)
    if not at then
      return ""
    end
    word = bor(lshift(band(word, 0xff), 5), at - 1)
    bits = bits + 5
    if bits >= 8 then
      bits = bits - 8
      n = n + 1
      out[n] = char(band(rshift(word, bits), 0xff))
    end
  end
  return concat(out)
end

-- ---- quoting ----

-- beside what ngx.quote_sql_str escapes: a dollar, for PostgreSQL
local function quote_sql(text)
  return (gsub(ngx.quote_sql_str(text), "%$", "\\$"))
end

directives.set_quote_sql_str = quote_sql

local function is_utf8(text)
  local i, n = 1, #text
  while i <= n do
    local c = byte(text, i)
    local more = c < 0x80 and 0 or c >= 0xc2 and c < 0xe0 and 1
      or c >= 0xe0 and c < 0xf0 and 2 or c >= 0xf0 and c < 0xf5 and 3
    if not more or i + more > n then
      return false
    end
    for k = 1, more do
      local d = byte(text, i + k)
      if d < 0x80 or d > 0xbf
        or k == 1 and (c == 0xe0 and d < 0xa0 or c == 0xed and d > 0x9f
          or c == 0xf0 and d < 0x90 or c == 0xf4 and d > 0x8f)
      then
        return false
      end
    end
    i = i + more + 1
  end
  return true
end

function directives.set_quote_pgsql_str(text)
  if text == "" then
    return "''"
  end
  local quoted = "E" .. quote_sql(text)
  if is_utf8(text) then
    return quoted
  end
  return (gsub(quoted, "[\128-\255]", function(c)
    return format("\\\\%03o", byte(c))
  end))
end

local json_escapes = {["\r"] = "\\r", ["\n"] = "\\n", ["\\"] = "\\\\",
  ['"'] = '\\"', ["\f"] = "\\f", ["\b"] = "\\b", ["\t"] = "\\t"}

function directives.set_quote_json_str(text)
  if text == "" then
    return "null"
  end
  return '"' .. gsub(text, '[%z\1-\31\\"]', function(c)
    return json_escapes[c] or format("\\u%04x", byte(c))
  end) .. '"'
end

-- ---- time and chance ----

function directives.set_local_today()
  return ngx.today()
end

function directives.set_formatted_gmt_time(form)
  return form == "" and "" or date("!" .. form, floor(vm.now))
end

function directives.set_formatted_local_time(form)
  return form == "" and "" or date(form, floor(vm.now))
end

ffi.cdef "ssize_t getrandom(void *buf, size_t n, unsigned int flags);"

local function secure_random(length, alphabet)
  local n = find(length, "^%d+$") and tonumber(length)
  if not n or n < 1 or n > 64 then
    return nil
  end
  local bytes, out = ffi.new("unsigned char[?]", n), {}
  if C.getrandom(bytes, n, 0) ~= n then
    return nil
  end
  for i = 1, n do
    local at = bytes[i - 1] % #alphabet + 1
    out[i] = sub(alphabet, at, at)
  end
  return concat(out)
end

local LOWER = "abcdefghijklmnopqrstuvwxyz"
local ALPHANUM = LOWER .. "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

function directives.set_secure_random_alphanum(length)
  return secure_random(length, ALPHANUM)
end

function directives.set_secure_random_lcalpha(length)
  return secure_random(length, LOWER)
end

-- ---- ndk ----

local function find_directive(_, name)
  name = tostring(name)
  local run = directives[name]
  if not run then
    error('ndk.set_var: directive "' .. name
      .. '" not found or does not use ndk_set_var_value', 2)
  end
  return function(arg)
    if vm.slot.phase == C.PG_PHASE_INIT then
      error("no request found", 2)
    end
    local value = run(type(arg) == "string" and arg or tostring(arg))
    if not value then
      error("calling directive " .. name .. " failed with code -1", 2)
    end
    return value
  end
end

local ndk = {
  set_var = setmetatable({}, {
    __index = find_directive,
    __newindex = function()
      error("not allowed", 2)
    end,
  }),
}

_G.ndk = ndk
package.loaded.ndk = ndk
