-- ngx.socket.udp: datagrams to and from one peer.

-- luacheck: ignore 212/...
local P = ...

local ffi = require "ffi"
local bit = require "bit"

local C = ffi.C
local band, bor = bit.band, bit.bor
local error, type, select, setmetatable, tostring, tonumber = error, type,
  select, setmetatable, tostring, tonumber
local ffi_string = ffi.string
local min = math.min

local K, api, vm = P.socket, P.sockets, P.vm
local slot_within = P.slot_within

local OPEN, READING, CONNECTING = C.PG_SOCK_OPEN, C.PG_SOCK_READING,
  C.PG_SOCK_CONNECTING
local IN_USE = bor(READING, CONNECTING)
local LARGEST = 65536

local udp = {}
local meta = {__index = udp}

local function new_udp(...)
  local count = select("#", ...)
  if count ~= 0 then
    error("expecting zero arguments, but got " .. count, 2)
  end
  slot_within(P.WAITING_PHASES)
  return setmetatable({}, meta)
end

local function read_ms(u)
  local ms = u.read_ms
  if ms and ms > 0 then
    return ms
  end
  return vm.slot.sockets.read_ms
end

-- The text of a failed op; what failed goes to the log.
local function failed(code, what)
  if code == C.PG_SOCK_TIMEOUT and what == "recv" and K.complains() then
    K.log(K.ERR, "lua udp socket read timed out")
  elseif code > -1000 then
    K.log(K.ERR, what .. "() failed " .. K.explain(-code))
  end
  return K.text_of(code)
end

local function connect(u, host, port)
  local err, name, at_port = K.parse(host, port)
  if err then
    return nil, "failed to parse host name \"" .. host .. "\": " .. err
  end
  local s, t, bind = u.s, vm.thread, u.local_address
  s.flags = C.PG_SOCK_DATAGRAM
  t.op_int = at_port
  t.op_str.p, t.op_str.n = name, #name
  if bind then
    t.op_str2.p, t.op_str2.n = bind, #bind
  end
  local code = K.wait(s, C.PG_OP_SOCK_CONNECT, CONNECTING,
    vm.slot.sockets.connect_ms)
  if code == 0 then
    s.flags = bor(s.flags, OPEN)
    return 1
  end
  local data = vm.slot["in"][C.PG_IN_DATA]
  local said = ffi_string(data.p, data.n)
  if code == C.PG_SOCK_UNRESOLVED then
    return nil, said
  end
  if code > -1000 then
    local what = t.res_num == 1 and "bind(" .. bind .. ")" or "connect()"
    K.log(K.CRIT, what .. " failed " .. K.explain(-code))
  end
  return nil, K.text_of(code)
end

function udp.setpeername(...)
  local n = select("#", ...)
  if n ~= 2 and n ~= 3 then
    error("ngx.socket.udp setpeername: expecting 2 or 3 arguments (including "
      .. "the object), but seen " .. n, 2)
  end
  local u, host, port = ...
  local slot = slot_within(P.WAITING_PHASES)
  if type(u) ~= "table" then
    K.bad_argument(1, "table expected, got " .. P.type_name(u))
  end
  if type(host) == "number" then
    host = tostring(host)
  elseif type(host) ~= "string" then
    K.bad_argument(2, "string expected, got " .. P.type_name(host))
  end
  if n == 3 then
    if not K.is_number(port) then
      K.bad_argument(3, "number expected, got " .. P.type_name(port))
    end
    port = K.integer(port)
    if port < 0 or port > 65535 then
      return nil, "bad port number: " .. port
    end
  else
    port = 0
  end
  if u.owner and u.owner ~= K.owner(slot) then
    error("bad request", 2)
  end
  if u.s and K.busy(u.s, IN_USE) then
    return nil, "socket busy"
  end
  K.discard(u)
  u.owner = K.owner(slot)
  u.s = K.hold(api.open(vm, LARGEST))
  local ok, err = connect(u, host, port)
  if not ok then
    K.discard(u)
  end
  return ok, err
end

-- The open connection of u, or nil and why it cannot be used.
local function usable(u, verb)
  local s = u.s
  if not s or band(s.flags, OPEN) == 0 then
    if verb and K.complains() then
      K.log(K.ERR, ("attempt to %s data on a closed socket: u:%016X, c:%016X")
        :format(verb, s and K.address(s) or 0, 0))
    end
    return nil, "closed"
  end
  if not K.is_ours(s) then
    error("bad request", 3)
  end
  if K.busy(s, IN_USE) then
    return nil, "socket busy"
  end
  return s
end

function udp.send(...)
  local n = select("#", ...)
  if n ~= 2 then
    error("expecting 2 arguments (including the object), but got " .. n, 2)
  end
  local u, data = ...
  if type(u) ~= "table" then
    K.bad_argument(1, "table expected, got " .. P.type_name(u))
  end
  local s, err = usable(u, "send")
  if not s then
    return nil, err
  end
  local gone, len
  if type(data) == "table" then
    local bad = K.put_table(s, data, 1)
    len = s.out_len
    s.out_len = 0
    if bad then
      K.bad_argument(2, bad)
    end
    gone = api.send(s, s.out, len)
  else
    local text = K.send_text(data)
    if not text then
      K.bad_argument(2, K.SEND_TYPES .. type(data))
    end
    len = #text
    gone = api.send(s, text, len)
  end
  if gone == len then
    return 1
  end
  -- a datagram goes as a whole or not at all
  return nil, failed(gone < 0 and gone or -11, "send")
end

function udp.receive(...)
  local n = select("#", ...)
  if n ~= 1 and n ~= 2 then
    error("expecting 1 or 2 arguments (including the object), but got " .. n,
      2)
  end
  local u, size = ...
  if type(u) ~= "table" then
    K.bad_argument(1, "table expected, got " .. P.type_name(u))
  end
  local s, err = usable(u, "receive")
  if not s then
    return nil, err
  end
  if size == nil then
    size = LARGEST
  elseif not K.is_number(size) then
    K.bad_argument(2, "number expected, got " .. P.type_name(size))
  end
  size = min(tonumber(size), LARGEST)
  size = size < 0 and LARGEST or size
  if api.room(s, 1) ~= 0 then
    return nil, "no memory"
  end
  local code = api.receive(s)
  if code == C.PG_SOCK_AGAIN then
    code = K.wait(s, C.PG_OP_SOCK_READ, READING, read_ms(u))
  end
  if code < 0 then
    return nil, failed(code, "recv")
  end
  s.fill = 0
  return ffi_string(s.buf, min(code, size))
end

function udp.settimeout(...)
  local n = select("#", ...)
  if n ~= 2 then
    error("ngx.socket settimeout: expecting at least 2 arguments (including "
      .. "the object) but seen " .. n, 2)
  end
  local u, ms = ...
  u.read_ms = K.integer(type(ms) ~= "cdata" and ms)
end

function udp.close(...)
  local n = select("#", ...)
  if n ~= 1 then
    error("expecting 1 argument (including the object) but seen " .. n, 2)
  end
  local u = ...
  local s, err = usable(u)
  if not s then
    return nil, err
  end
  K.discard(u)
  return 1
end

udp.bind = K.bind

P.ngx.socket.udp = new_udp
