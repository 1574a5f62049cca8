-- sslhandshake and what belongs to it. TLS is Go's: afterwards all bytes of
-- the connection go through ops.

local P = ...

local ffi = require "ffi"
local bit = require "bit"

local C = ffi.C
local band = bit.band
local error, type, select = error, type, select
local format = string.format

local K, vm, note = P.socket, P.vm, P.core.note
local tcp = K.tcp_methods
local OPEN, TLS = C.PG_SOCK_OPEN, C.PG_SOCK_TLS
local SHUT = bit.bor(C.PG_SOCK_READ_SHUT, C.PG_SOCK_WRITE_SHUT)
local SESSION = C.PG_NOTE_SESSION

-- Sessions that scripts hold, as OpenResty's are: cdata. Go counts holders.
local new_session = ffi.metatype("pg_session", {
  __gc = function(session)
    note(vm, SESSION, session.id, 0, -1)
  end,
})

local function session_of(s)
  local id = s.session
  note(vm, SESSION, id, 0, 1)
  return new_session(id)
end

local function session_id(session)
  return ffi.istype(new_session, session) and session.id or 0
end

local function result(s, wanted)
  if wanted == false then
    return true
  end
  return session_of(s)
end

-- What the handshake failed on: the script's error, and a line for the log.
local function explain(code, said, name)
  if code > 0 then
    return code .. ": " .. said,
      format("lua ssl certificate verify error: (%d: %s)", code, said)
  end
  if code == 0 then
    return said, said == "certificate host mismatch" and format(
      "lua ssl certificate does not match host \"%s\"", name)
  end
  return "handshake failed", "SSL_do_handshake() failed (SSL: " .. said .. ")"
end

local function shake(u, session, name, verify)
  local s, t = u.s, vm.thread
  t.op_int = verify and C.PG_HANDSHAKE_VERIFY or 0
  t.op_int2 = session_id(session)
  t.op_str.p, t.op_str.n = name, #name
  local identity = u.client_identity
  if identity then
    t.op_str2.p, t.op_str2.n = identity, #identity
  end
  local code = K.wait(s, C.PG_OP_SOCK_HANDSHAKE, C.PG_SOCK_CONNECTING,
    K.connect_ms(u))
  if code == 0 then
    return true
  end
  local data = vm.slot["in"][C.PG_IN_DATA]
  local said = ffi.string(data.p, data.n)
  local refused = code == C.PG_SOCK_REFUSED
  K.discard(u)
  if not refused then
    return nil, K.text_of(code)
  end
  local err, line = explain(t.res_num, said, name)
  if line and K.complains() then
    K.log(K.ERR, line)
  end
  return nil, err
end

function tcp.sslhandshake(u, session, name, verify, ocsp, ...)
  local n = select("#", ...)
  if not u or n > 0 then
    error("ngx.socket sslhandshake: expecting 1 ~ 5 arguments (including the "
      .. "object), but seen " .. (u and 5 + n or 0))
  end
  local s = u.s
  if not s and not u.owner then
    error("socket is never created nor connected")
  end
  if not s or band(s.flags, OPEN) == 0 or band(s.flags, SHUT) ~= 0 then
    return nil, "closed"
  end
  if not K.is_ours(s) then
    return nil, "bad request"
  end
  local busy = K.busy(s, K.ANY_USE)
  if busy then
    return nil, busy
  end
  if band(s.flags, TLS) ~= 0 then
    if session and session ~= true then
      return session
    end
    return result(s, session)
  end
  if ocsp then
    return nil, "no OCSP support"
  end
  if session ~= nil and session ~= false and type(session) ~= "cdata" then
    session = nil
  end
  local ok, err = shake(u, session, name or "", verify)
  if not ok then
    return nil, err
  end
  return result(s, session)
end

function tcp.getsslsession(u)
  if not u then
    error("ngx.socket getsslsession: expecting the cosocket object, but seen "
      .. "none")
  end
  local s = u.s
  if not K.usable(s) then
    return nil, "closed"
  end
  if band(s.flags, TLS) == 0 then
    return nil, "no session"
  end
  return session_of(s)
end

function tcp.setclientcert(u, cert, key)
  if not cert and not key then
    u.client_identity = nil
    return true
  end
  if not cert or not key then
    return nil, "client certificate must be supplied with corresponding "
      .. "private key"
  end
  if type(cert) ~= "cdata" then
    return nil, "bad cert arg: cdata expected, got " .. type(cert)
  end
  if type(key) ~= "cdata" then
    return nil, "bad pkey arg: cdata expected, got " .. type(key)
  end
  local certs, secret = P.der_of(cert), P.der_of(key)
  if not certs or not secret then
    return nil, "bad cert or pkey arg: not from ngx.ssl's parse functions"
  end
  u.client_identity = certs .. secret
  return true
end
