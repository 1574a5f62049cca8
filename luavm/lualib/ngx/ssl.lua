-- ngx.ssl and ngx.ssl.clienthello, as lua-resty-core has them: what a script
-- decides about a TLS handshake. What it sets goes into the edit log; the host
-- checks that certificate and key are what they should be.

local P = ...

local ffi = require "ffi"
local bit = require "bit"
local C = ffi.C
local error, type, tonumber = error, type, tonumber
local setmetatable = setmetatable
local concat, find, gmatch, gsub = table.concat, string.find, string.gmatch,
  string.gsub
local byte, sub = string.byte, string.sub
local band, lshift = bit.band, bit.lshift
local ffi_string = ffi.string

-- Handles without anything inside: a script must not reach memory by them.
ffi.cdef [[
typedef struct { } pg_der_cert;
typedef struct { } pg_der_key;
]]

local cert_type, key_type = ffi.typeof("pg_der_cert"), ffi.typeof("pg_der_key")
local ders = setmetatable({}, {__mode = "k"}) -- by handle

local function closed()
  error("the handle of a certificate or key has no fields", 2)
end

ffi.metatype(cert_type, {__index = closed, __newindex = closed})
ffi.metatype(key_type, {__index = closed, __newindex = closed})
local vm, edit, ngx = P.vm, P.core.edit, P.ngx
local CERT, HELLO = P.phase_mask(C.PG_PHASE_SSL_CERT),
  P.phase_mask(C.PG_PHASE_SSL_CLIENT_HELLO)
local HANDSHAKE = bit.bor(CERT, HELLO)

local ssl = {version = P.resty_core_version}
local hello = {version = P.resty_core_version}

package.loaded["ngx.ssl"] = ssl
package.loaded["ngx.ssl.clienthello"] = hello

ssl.SSL3_VERSION, ssl.TLS1_VERSION = 0x0300, 0x0301
ssl.TLS1_1_VERSION, ssl.TLS1_2_VERSION = 0x0302, 0x0303
ssl.TLS1_3_VERSION = 0x0304

local version_names = {
  [0x0300] = "SSLv3", [0x0301] = "TLSv1", [0x0302] = "TLSv1.1",
  [0x0303] = "TLSv1.2", [0x0304] = "TLSv1.3",
}

-- The slot where a handshake is under way, or nil and why not.
local function handshake(phases)
  local s = vm.slot
  if s == nil or s.phase == C.PG_PHASE_INIT then
    error("no request found", 3)
  end
  if band(lshift(1, s.phase), phases) == 0 then
    return nil, "API disabled in the current context"
  end
  return s
end

local function put(what, value)
  local s, why = handshake(CERT)
  if not s then
    return nil, why
  end
  if edit(s, C.PG_EDIT_TLS, what, "", 0, value, #value) ~= 0 then
    return nil, "no memory"
  end
  return true
end

-- ---- PEM and DER ----

local function der_length(der)
  local first = byte(der, 2)
  if byte(der, 1) ~= 0x30 or not first then
    return nil
  end
  if first < 0x80 then
    return first + 2
  end
  local n, length = first - 0x80, 0
  if n < 1 or n > 4 then
    return nil
  end
  for i = 3, 2 + n do
    length = length * 256 + (byte(der, i) or 0)
  end
  return length + 2 + n
end

local function is_der(text)
  local n = der_length(text)
  return n and n <= #text
end

-- The DER of all blocks whose label ends in what; nil: there is none.
local function blocks(pem, what)
  local list = {}
  for label, text in gmatch(pem, "%-%-%-%-%-BEGIN ([%u%d ]+)%-%-%-%-%-(.-)"
    .. "%-%-%-%-%-END ")
  do
    if find(label, what .. "$") then
      local der = ngx.decode_base64((gsub(text, "%s", "")))
      if not der or not is_der(der) then
        return nil
      end
      list[#list + 1] = der
    end
  end
  return list[1] and list
end

local function check_text(text, name)
  if type(text) ~= "string" then
    error("bad argument #1 to '" .. name .. "' (string expected, got "
      .. P.type_name(text) .. ")", 3)
  end
end

function ssl.cert_pem_to_der(pem)
  check_text(pem, "cert_pem_to_der")
  local list = blocks(pem, "CERTIFICATE")
  if not list then
    return nil, "PEM_read_bio_X509_AUX() failed"
  end
  return concat(list)
end

function ssl.priv_key_pem_to_der(pem)
  check_text(pem, "priv_key_pem_to_der")
  local list = blocks(pem, "PRIVATE KEY")
  if not list or find(pem, "ENCRYPTED", 1, true) then
    return nil, "PEM_read_bio_PrivateKey() failed"
  end
  return list[1]
end

local function parsed(ctype, der)
  local handle = ctype()
  ders[handle] = der
  return handle
end

function ssl.parse_pem_cert(pem)
  local der, why = ssl.cert_pem_to_der(pem)
  if not der then
    return nil, why
  end
  return parsed(cert_type, der)
end

function ssl.parse_pem_priv_key(pem)
  local der, why = ssl.priv_key_pem_to_der(pem)
  if not der then
    return nil, why
  end
  return parsed(key_type, der)
end

function ssl.parse_der_cert(der)
  check_text(der, "parse_der_cert")
  if not is_der(der) then
    return nil, "d2i_X509_bio() failed"
  end
  return parsed(cert_type, der)
end

function ssl.parse_der_priv_key(der)
  check_text(der, "parse_der_priv_key")
  if not is_der(der) then
    return nil, "d2i_PrivateKey_bio() failed"
  end
  return parsed(key_type, der)
end

-- The DER behind what the parse functions return; nil for anything else.
function P.der_of(v)
  return type(v) == "cdata" and ders[v] or nil
end

-- ---- what the server shows ----

function ssl.clear_certs()
  return put(C.PG_TLS_CLEAR, "")
end

function ssl.set_der_cert(der)
  check_text(der, "set_der_cert")
  return put(C.PG_TLS_CERT, der)
end

function ssl.set_der_priv_key(der)
  check_text(der, "set_der_priv_key")
  return put(C.PG_TLS_KEY, der)
end

function ssl.set_cert(cert)
  local der = P.der_of(cert)
  if not der then
    return nil, "invalid certificate"
  end
  return put(C.PG_TLS_CERT, der)
end

function ssl.set_priv_key(key)
  local der = P.der_of(key)
  if not der then
    return nil, "invalid private key"
  end
  return put(C.PG_TLS_KEY, der)
end

-- The whole chain of a client's certificate is verified, whatever its depth.
function ssl.verify_client(authorities)
  local der = authorities == nil and "" or P.der_of(authorities)
  if not der then
    return nil, "invalid certificates"
  end
  return put(C.PG_TLS_VERIFY, der)
end

-- ---- what is known of the client ----

local function variable(s, index)
  local v = s.vars[index]
  return v.p ~= nil and v.n > 0 and ffi_string(v.p, v.n) or nil
end

local function server_name(phases)
  local s, why = handshake(phases)
  if not s then
    return nil, why
  end
  return variable(s, C.PG_VAR_SERVER_NAME)
end

function ssl.server_name()
  return server_name(HANDSHAKE)
end

function ssl.server_port()
  local s, why = handshake(HANDSHAKE)
  if not s then
    return nil, why
  end
  local port = variable(s, C.PG_VAR_SERVER_PORT)
  if not port then
    return nil, "unix domain has no port"
  end
  return tonumber(port)
end

-- The bytes of an address, and of which family it is.
local function raw(index)
  local s, why = handshake(HANDSHAKE)
  if not s then
    return nil, nil, why
  end
  local text = variable(s, index) or ""
  local a, b, c, d = text:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  if a then
    return string.char(a, b, c, d), "inet"
  end
  if sub(text, 1, 5) == "unix:" then
    return sub(text, 6), "unix"
  end
  return P.inet6(text), "inet6"
end

local function words(text, into)
  for word in gmatch(text, "[^:]+") do
    local n = tonumber(word, 16)
    into[#into + 1] = string.char((n - n % 256) / 256, n % 256)
  end
  return into
end

-- The 16 bytes of an IPv6 address as Go writes it.
function P.inet6(text)
  local head, tail = text:match("^(.-)::(.*)$")
  local front, back = words(head or text, {}), words(tail or "", {})
  for _ = 1, 8 - #front - #back do
    front[#front + 1] = "\0\0"
  end
  return concat(front) .. concat(back)
end

function ssl.raw_server_addr()
  return raw(C.PG_VAR_SERVER_ADDR)
end

function ssl.raw_client_addr()
  return raw(C.PG_VAR_REMOTE_ADDR)
end

function ssl.get_tls1_version()
  local s, why = handshake(HANDSHAKE)
  if not s then
    return nil, why
  end
  return tonumber(variable(s, C.PG_VAR_PROTOCOL))
end

function ssl.get_tls1_version_str()
  local version, why = ssl.get_tls1_version()
  if not version then
    return nil, why
  end
  local name = version_names[version]
  if not name then
    return nil, "unknown version"
  end
  return name
end

-- ---- the client's hello ----

function hello.get_client_hello_server_name()
  return server_name(HELLO)
end

function hello.get_supported_versions()
  local s, why = handshake(HELLO)
  if not s then
    return nil, why
  end
  local list = {}
  for number in gmatch(variable(s, C.PG_VAR_ARGS) or "", "%d+") do
    list[#list + 1] = version_names[tonumber(number)]
  end
  return list
end

function hello.set_protocols(protocols)
  local s, why = handshake(HELLO)
  if type(protocols) ~= "table" then
    error("bad argument #1 to 'set_protocols' (table expected, got "
      .. P.type_name(protocols) .. ")", 2)
  end
  if not s then
    return nil, why
  end
  local text = concat(protocols, " ")
  if edit(s, C.PG_EDIT_TLS, C.PG_TLS_PROTOCOLS, "", 0, text, #text) ~= 0 then
    return nil, "no memory"
  end
  return true
end
