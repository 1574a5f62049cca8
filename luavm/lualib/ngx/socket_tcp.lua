-- ngx.socket.tcp: connecting, and the rest that is not reading or writing.

-- luacheck: ignore 212/...
local P = ...

local ffi = require "ffi"
local bit = require "bit"

local C = ffi.C
local band, bor = bit.band, bit.bor
local error, type, select, tonumber, tostring = error, type, select,
  tonumber, tostring
local find, match, lower, sub = string.find, string.match, string.lower,
  string.sub
local ffi_string = ffi.string

local K, api, vm = P.socket, P.sockets, P.vm
local slot_within, socket_object = P.slot_within, P.socket_object
local bad_argument, is_number, integer = K.bad_argument, K.is_number,
  K.integer

local quick_connect = K.quick_connect

local OPEN, CONNECTING = C.PG_SOCK_OPEN, C.PG_SOCK_CONNECTING
local SHUT = bor(C.PG_SOCK_READ_SHUT, C.PG_SOCK_WRITE_SHUT)
local CONNECT, QUEUE = C.PG_OP_SOCK_CONNECT, C.PG_OP_SOCK_QUEUE

local tcp = {}
local meta = {__index = tcp}

tcp.receive, tcp.receiveany, tcp.receiveuntil = K.receive, K.receiveany,
  K.receiveuntil
tcp.send = K.send

K.tcp_methods, K.tcp_meta = tcp, meta

-- Fields of an object: s; owner: see K.owner; key: its pool; connect_ms,
-- send_ms, read_ms.
local function tcp_socket(...)
  if select("#", ...) ~= 0 then
    error("expecting zero arguments, but got " .. select("#", ...), 2)
  end
  slot_within(P.WAITING_PHASES)
  return socket_object(meta)
end

-- ---- where to ----

-- What nginx says about a host that it cannot take apart, or nil and the
-- host and port to use.
local function parse(host, port)
  if lower(sub(host, 1, 5)) == "unix:" then
    if #host == 5 then
      return "no path in the unix domain socket"
    end
    if #host - 5 > 107 then
      return "too long path in the unix domain socket"
    end
    return nil, host, port
  end
  if host == "" then
    return "no host"
  end
  if find(host, "[/?#]") then
    return "invalid host"
  end
  if sub(host, 1, 1) == "[" then
    if not find(host, "]", 2, true) then
      return "invalid host"
    end
    return nil, host, port
  end
  local name, digits = match(host, "^([^:]*):(.*)$")
  if name then
    local n = tonumber(digits)
    if name == "" or not find(digits, "^%d+$") or n < 1 or n > 65535 then
      return name == "" and "no host" or "invalid port"
    end
    return nil, name, n
  end
  return nil, host, port
end

K.parse = parse

local function pool_options(options, at)
  local size, backlog, name = options.pool_size, options.backlog, options.pool
  if is_number(size) then
    size = integer(size)
    if size <= 0 then
      return at, "bad \"pool_size\" option value: " .. size
    end
  elseif size ~= nil then
    return at, "bad \"pool_size\" option type: " .. type(size)
  end
  if is_number(backlog) then
    backlog = integer(backlog)
    if backlog < 0 then
      return at, "bad \"backlog\" option value: " .. backlog
    end
    size = size or vm.slot.sockets.pool_size
  else
    backlog = -1
  end
  if type(name) == "number" then
    name = tostring(name)
  elseif name ~= nil and type(name) ~= "string" then
    return at, "bad \"pool\" option type: " .. type(name)
  end
  return nil, nil, size, backlog, name
end

-- ---- connecting ----

local function connect_ms(u)
  local ms = u.connect_ms
  if ms and ms > 0 then
    return ms
  end
  return vm.slot.sockets.connect_ms
end

K.connect_ms = connect_ms

local function take(u, s)
  u.s = s
  return s
end

-- Says in the log why an address could not be connected to.
local function complain(code, address, of_bind)
  if of_bind then
    K.log(K.CRIT, "bind(" .. of_bind .. ") failed " .. K.explain(-code))
  elseif code == C.PG_SOCK_TIMEOUT then
    if K.complains() then
      K.log(K.ERR, "lua tcp socket connect timed out, when connecting to "
        .. address)
    end
  elseif code > -1000 then
    if find(address, "^[uU][nN][iI][xX]:") then
      -- nginx finds out at once, and says so as of any connect
      local level = code == -111 and K.ERR or K.CRIT
      K.log(level, "connect() to " .. address .. " failed "
        .. K.explain(-code))
    elseif K.complains() then
      K.log(K.ERR, "connect() failed " .. K.explain(-code))
    end
  end
end

-- Connects u.s. Returns 1, or nil and why not.
local function connect_to(u, host, port)
  local err, name, at_port = parse(host, port)
  if err then
    K.discard(u)
    return nil, "failed to parse host name \"" .. host .. "\": " .. err
  end
  local s, t = u.s, vm.thread
  local bind = u.local_address
  t.op_int = at_port
  t.op_str.p, t.op_str.n = name, #name
  if bind then
    t.op_str2.p, t.op_str2.n = bind, #bind
  end
  if not find(name, "^[^:]*%a") or find(name, "^[uU][nN][iI][xX]:") then
    -- nothing to resolve: for other threads it is there already, but busy
    s.flags = OPEN
  end
  local code = K.wait(s, CONNECT, CONNECTING, connect_ms(u))
  if code == 0 then
    s.flags = bor(s.flags, OPEN)
    return 1
  end
  local data = vm.slot["in"][C.PG_IN_DATA]
  local said = ffi_string(data.p, data.n)
  K.discard(u)
  if code == C.PG_SOCK_UNRESOLVED then
    return nil, said
  end
  complain(code, said, t.res_num == 1 and bind)
  return nil, K.text_of(code)
end

K.connect_to = connect_to

-- A connection of pool for u: an idle one (1), or a new one's place in it
-- (nil), perhaps after waiting for it; or false and why there is none.
local function place(u, pool, host, port)
  local handle = api.reuse(vm, pool)
  if handle ~= 0 then
    u.s = K.take_back(handle)
    return 1
  end
  local s = take(u, K.hold(api.open(vm, vm.slot.sockets.buffer_size)))
  local rc = api.enter(s, pool, 0)
  if rc == C.PG_POOL_FULL then
    K.discard(u)
    return false, "too many waiting connect operations"
  end
  if rc == C.PG_POOL_OK then
    return nil
  end
  K.wait(s, QUEUE, CONNECTING, connect_ms(u))
  if api.turn(s) == 0 then
    K.discard(u)
    if K.complains() then
      K.log(K.ERR, "lua tcp socket queued connect timed out, when trying to "
        .. "connect to " .. host .. ":" .. port)
    end
    return false, "timeout"
  end
  handle = api.reuse(vm, pool)
  if handle ~= 0 then
    K.discard(u)
    u.s = K.take_back(handle)
    return 1
  end
  api.enter(s, pool, 1)
  return nil
end

local function start(u, host, port, pool)
  local slot = vm.slot
  u.owner = K.owner(slot)
  if pool then
    local got, err = place(u, pool, host, port)
    if got then
      return 1
    end
    if got == false then
      return nil, err
    end
  else
    take(u, K.hold(api.open(vm, slot.sockets.buffer_size)))
  end
  return connect_to(u, host, port)
end

-- Ends a former use of u: nil, or why it cannot end.
local function reconnectable(u, ...)
  if u.owner and u.owner ~= K.owner(vm.slot) then
    error("bad request", 3)
  end
  local s = u.s
  if s then
    local busy = K.busy(s, K.ANY_USE)
    if busy then
      return busy
    end
    if band(s.flags, C.PG_SOCK_DOWNSTREAM) ~= 0 then
      error("attempt to re-connect a request socket", 3)
    end
    K.discard(u)
  end
end

K.reconnectable = reconnectable

-- connect without options, to a name and a number.
local function connect_plain(u, host, port)
  slot_within(P.WAITING_PHASES)
  if port < 0 or port > 65535 then
    return nil, "bad port number: " .. port
  end
  local busy = reconnectable(u)
  if busy then
    return nil, busy
  end
  local key = host .. ":" .. port
  u.key = key
  return start(u, host, port, K.pool_of(key))
end

local function connect_with(n, u, host, port, options)
  slot_within(P.WAITING_PHASES)
  if type(u) ~= "table" then
    bad_argument(1, "table expected, got " .. P.type_name(u))
  end
  if type(host) == "number" then
    host = tostring(host)
  elseif type(host) ~= "string" then
    bad_argument(2, "string expected, got " .. P.type_name(host))
  end
  local size, backlog, name
  if options then
    local at, bad
    at, bad, size, backlog, name = pool_options(options, n)
    if bad then
      bad_argument(at, bad)
    end
    n = n - 1
  end
  local key = host
  if n >= 3 and is_number(port) then
    port = integer(port)
    if port < 0 or port > 65535 then
      return nil, "bad port number: " .. port
    end
    key = host .. ":" .. port
  elseif lower(sub(host, 1, 5)) == "unix:" then
    port = 0
  else
    return nil, "missing the port number"
  end
  local busy = reconnectable(u)
  if busy then
    return nil, busy
  end
  u.key = name or key
  return start(u, host, port, K.pool_of(u.key, size, backlog))
end

local function connect_slowly(...)
  local n = select("#", ...)
  if n < 2 or n > 4 then
    error("ngx.socket connect: expecting 2, 3, or 4 arguments (including the "
      .. "object), but seen " .. n, 2)
  end
  local u, host, port = ...
  if n == 3 and type(host) == "string" and type(port) == "number"
    and type(u) == "table" and port % 1 == 0
  then
    return connect_plain(u, host, port)
  end
  local last = select(n, ...)
  return connect_with(n, u, host, port, type(last) == "table" and n > 1
    and last)
end

function tcp.connect(...)
  if quick_connect(...) then
    return 1
  end
  return connect_slowly(...)
end

-- ---- the rest ----

local function usable(s, ...)
  return s and band(s.flags, OPEN) ~= 0 and band(s.flags, SHUT) ~= SHUT
end

K.usable = usable

function tcp.close(...)
  local n = select("#", ...)
  if n ~= 1 then
    error("expecting 1 argument (including the object) but seen " .. n, 2)
  end
  local u = ...
  local s = u.s
  if not usable(s) then
    return nil, "closed"
  end
  if not K.is_ours(s) then
    error("bad request", 2)
  end
  local busy = K.busy(s, K.ANY_USE)
  if busy then
    return nil, busy
  end
  K.discard(u)
  return 1
end

local function milliseconds(v, ...)
  local ms = integer(type(v) ~= "cdata" and v)
  if ms < 0 or ms > 0x7fffffff then
    error("bad timeout value", 3)
  end
  return ms
end

local function set_all(u, ms)
  ms = milliseconds(ms)
  u.connect_ms, u.send_ms, u.read_ms = ms, ms, ms
end

local function settimeout(...)
  local n = select("#", ...)
  if n ~= 2 then
    error("ngx.socket settimeout: expecting 2 arguments (including the "
      .. "object) but seen " .. n, 2)
  end
  return set_all(...)
end

local function set_each(u, connect, send, read)
  u.connect_ms, u.send_ms, u.read_ms = milliseconds(connect),
    milliseconds(send), milliseconds(read)
end

local function settimeouts(...)
  local n = select("#", ...)
  if n ~= 4 then
    error("ngx.socket settimeout: expecting 4 arguments (including the "
      .. "object) but seen " .. n, 2)
  end
  return set_each(...)
end

K.settimeout, K.settimeouts = settimeout, settimeouts
tcp.settimeout, tcp.settimeouts = settimeout, settimeouts

-- An address as nginx takes it: IP, IP:port, [IP6]:port.
local function is_address(text)
  local ip = match(text, "^([%d.]+)$") or match(text, "^([%d.]+):%d+$")
  if ip then
    local a, b, c, d = match(ip, "^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
    return a and tonumber(a) < 256 and tonumber(b) < 256
      and tonumber(c) < 256 and tonumber(d) < 256
  end
  return find(text, "^[%x:.]*:[%x:.]*$") or find(text, "^%[[%x:.]+%]:?%d*$")
end

function K.bind(...)
  local n = select("#", ...)
  if n ~= 2 then
    error("expecting 2 arguments, but got " .. n, 2)
  end
  local u, text = ...
  slot_within(P.WAITING_PHASES)
  if type(text) ~= "string" then
    bad_argument(2, "string expected, got " .. P.type_name(text))
  end
  if not is_address(text) then
    return nil, "bad address"
  end
  u.local_address = text
  return true
end

tcp.bind = K.bind

P.ngx.socket.tcp, P.ngx.socket.stream = tcp_socket, tcp_socket

function P.ngx.socket.connect(...)
  local u = tcp_socket()
  local ok, err = u:connect(...)
  if ok then
    return u
  end
  return nil, err
end
