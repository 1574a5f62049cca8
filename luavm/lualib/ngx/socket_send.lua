-- send: what the kernel takes at once goes at once; the rest waits in the
-- connection's memory for an op.

-- luacheck: ignore 212/...
local P = ...

local ffi = require "ffi"
local bit = require "bit"

local C = ffi.C
local band, bor = bit.band, bit.bor
local error, type, select, tostring, rawget = error, type, select, tostring,
  rawget

local K, api, vm = P.socket, P.sockets, P.vm
local put, c_send = api.put, api.send
local array_size = P.array_size
local quick_send = K.quick_send

local OPEN, SHUT = C.PG_SOCK_OPEN, C.PG_SOCK_WRITE_SHUT
local WRITING, CONNECTING = C.PG_SOCK_WRITING, C.PG_SOCK_CONNECTING
local IN_USE = bor(WRITING, CONNECTING)
local WRITE = C.PG_OP_SOCK_WRITE
local DEPTH = 100

local put_table
-- Adds a table's strings and numbers to what s sends; else what is wrong.
function put_table(s, t, depth)
  local n = array_size(t)
  if not n then
    return "non-array table found"
  end
  if depth > DEPTH then
    return "table nested too deep"
  end
  for i = 1, n do
    local v = rawget(t, i)
    local kind = type(v)
    local bad
    if kind == "number" then
      v = tostring(v)
      kind = "string"
    end
    if kind == "string" then
      bad = put(s, v, #v) ~= 0 and "no memory"
    elseif kind == "table" then
      bad = put_table(s, v, depth + 1)
    else
      bad = "bad data type " .. kind .. " found"
    end
    if bad then
      return bad
    end
  end
end

-- Text of what send accepts but a table, or nil.
local function text_of(v)
  local kind = type(v)
  if kind == "string" then
    return v
  end
  if kind == "number" or kind == "nil" or kind == "boolean" then
    return tostring(v)
  end
end

K.put_table, K.send_text = put_table, text_of
K.SEND_TYPES = "string, number, boolean, nil, or array table expected, got "

local function send_ms(u)
  local ms = u.send_ms
  if ms and ms > 0 then
    return ms
  end
  return vm.slot.sockets.send_ms
end

local function clear(s, ...)
  s.out_pos, s.out_len = 0, 0
end

local function failed(s, code)
  s.flags = bor(s.flags, SHUT)
  clear(s)
  if code == C.PG_SOCK_TIMEOUT then
    if K.complains() then
      K.log(K.ERR, "lua tcp socket write timed out")
    end
  elseif code > -1000 and code < 0 then
    K.log(K.ERR, "send() failed " .. K.explain(-code))
  end
  return nil, K.text_of(code)
end

-- Sends what is left of out by an op.
local function finish(u, s, len)
  local code = K.wait(s, u.write_op or WRITE, WRITING, send_ms(u))
  if code < 0 then
    return failed(s, code)
  end
  clear(s)
  return len
end

local function send_text(u, s, text, ...)
  local len = #text
  local gone = c_send(s, text, len)
  if gone == len then
    return len
  end
  if gone < 0 then
    return failed(s, gone)
  end
  local p = ffi.cast("const char *", text)
  if put(s, p + gone, len - gone) ~= 0 then
    error("no memory", 3)
  end
  return finish(u, s, len)
end

local function send_table(u, s, ...)
  local len = s.out_len
  if len == 0 then
    return 0
  end
  local gone = c_send(s, s.out, len)
  if gone == len then
    clear(s)
    return len
  end
  if gone < 0 then
    return failed(s, gone)
  end
  s.out_pos = gone
  return finish(u, s, len)
end

-- The connection that u can send on, or nil and why it cannot.
local function writable(u, ...)
  if type(u) ~= "table" then
    K.bad_argument(1, "table expected, got " .. P.type_name(u), 3)
  end
  local s = u.s
  if not s or band(s.flags, bor(OPEN, SHUT)) ~= OPEN then
    K.complain_closed(u, "send")
    return nil, "closed"
  end
  if not K.is_ours(s) then
    error("bad request", 3)
  end
  local busy = K.busy(s, IN_USE)
  if busy then
    return nil, busy
  end
  if u.read_only then
    error("attempt to write to request sockets", 3)
  end
  return s
end

local function send_list(u, list)
  local s, err = writable(u)
  if not s then
    return nil, err
  end
  local bad = put_table(s, list, 1)
  if bad then
    clear(s)
    K.bad_argument(2, bad)
  end
  return send_table(u, s)
end

local function send_other(u, data)
  local s, err = writable(u)
  if not s then
    return nil, err
  end
  local text = text_of(data)
  if not text then
    K.bad_argument(2, K.SEND_TYPES .. type(data))
  end
  if text == "" then
    return 0
  end
  return send_text(u, s, text)
end

local function send_slowly(...)
  local count = select("#", ...)
  if count ~= 2 then
    error("expecting 2 arguments (including the object), but got " .. count, 2)
  end
  local u, data = ...
  if type(data) == "table" then
    return send_list(u, data)
  end
  return send_other(u, data)
end

-- What quick_send says of data that did not go: bytes of which the rest waits,
-- or an outcome below 0.
local function unsent(n, u)
  if n < 0 then
    return failed(u.s, n)
  end
  return finish(u, u.s, n)
end

local function send(...)
  local gone, n = quick_send(...)
  if gone then
    return gone
  end
  if n then
    return unsent(n, ...)
  end
  return send_slowly(...)
end

K.send = send
