-- receive, receiveany, receiveuntil: readers over a connection's buffer. They
-- ask for read-some until they are content; see socket_read.c.

-- luacheck: ignore 212/...
local P = ...

local ffi = require "ffi"
local bit = require "bit"

local C = ffi.C
local band, bor, bnot = bit.band, bit.bor, bit.bnot
local error, type, select, tostring = error, type, select, tostring
local ffi_string, ffi_new, ffi_cast = ffi.string, ffi.new, ffi.cast

local K, api, vm = P.socket, P.sockets, P.vm
local room, line, bytes, any, rest = api.room, api.line, api.bytes, api.any,
  api.rest
local c_receive, until_, until_rest = api.receive, api["until"],
  api.until_rest
local bad_argument, is_number, integer = K.bad_argument, K.is_number,
  K.integer
local quick_receive = K.quick_receive

local OPEN, EOF, FULL, SHUT = C.PG_SOCK_OPEN, C.PG_SOCK_EOF, C.PG_SOCK_FULL,
  C.PG_SOCK_READ_SHUT
local READING, CONNECTING = C.PG_SOCK_READING, C.PG_SOCK_CONNECTING
local IN_USE = bor(READING, CONNECTING)
local READY = bor(OPEN, SHUT, IN_USE) -- of these, only OPEN
local READ, AGAIN, GOT = C.PG_OP_SOCK_READ, C.PG_SOCK_AGAIN, C.PG_GOT
local MOST = 0x7fffffff

local function read_ms(u, ...)
  local ms = u.read_ms
  if ms and ms > 0 then
    return ms
  end
  return vm.slot.sockets.read_ms
end

-- Tells waits of threads apart: the same again means that no thread has waited.
function K.moment(t, ...)
  return t.index * 4294967296 + t.serial
end

-- Read-some: how many bytes came, 0 at the end, or an outcome below 0.
local function read_some(u, s, want, ...)
  if band(s.flags, EOF) ~= 0 then
    return 0
  end
  if room(s, want) ~= 0 then
    return C.PG_E_MEMORY
  end
  local n = AGAIN
  if band(s.flags, FULL) ~= 0 then
    -- the read before this one took all it had room for: more is there
    n = c_receive(s)
  end
  if n == AGAIN then
    n = K.wait(s, u.read_op or READ, READING, read_ms(u))
    if n > 0 then
      s.fill = s.fill + n
    end
  end
  local flags = band(s.flags, bnot(FULL))
  if n == 0 then
    flags = bor(flags, EOF)
  elseif s.fill == s.cap then
    flags = bor(flags, FULL)
  end
  s.flags = flags
  s.read_at = K.moment(vm.thread)
  return n
end

K.read_some = read_some

local function result(s, ...)
  return ffi_string(s.got.p, s.got.n)
end

-- The two values of a failed read. Only a time-out leaves the socket usable.
local function failed(s, code)
  if code == C.PG_SOCK_TIMEOUT then
    if K.complains() then
      K.log(K.ERR, "lua tcp socket read timed out")
    end
    return nil, "timeout"
  end
  s.flags = bor(s.flags, SHUT)
  if code == 0 then
    return nil, "closed"
  end
  if code > -1000 then
    K.log(K.ERR, "recv() failed " .. K.explain(-code))
  end
  return nil, K.text_of(code)
end

-- The three values of a failed read; what was read is what the reader has
-- made the result. What is too much for memory is not copied.
local function failed_with(s, code)
  local none, err = failed(s, code)
  return none, err, code == C.PG_E_MEMORY and "" or result(s)
end

-- Reads until the line is there; n came last.
local function rest_of_line(u, s, n)
  while n > 0 do
    n = read_some(u, s, 0)
    if n > 0 and line(s) == GOT then
      return result(s)
    end
  end
  rest(s, 1)
  return failed_with(s, n)
end

-- A reader has looked at all there is. Mostly one read is enough, and a trace
-- must not begin at what has a loop in it.
local function more_of_line(u, s)
  local n = read_some(u, s, 0)
  if n > 0 and line(s) == GOT then
    return result(s)
  end
  return rest_of_line(u, s, n)
end

local function rest_of_bytes(u, s, size, n)
  while n > 0 do
    n = read_some(u, s, size - (s.fill - s.pos))
    if n > 0 and bytes(s, size) == GOT then
      return result(s)
    end
  end
  rest(s, 0)
  return failed_with(s, n)
end

local function more_bytes(u, s, size)
  local n = read_some(u, s, size - (s.fill - s.pos))
  if n > 0 and bytes(s, size) == GOT then
    return result(s)
  end
  return rest_of_bytes(u, s, size, n)
end

local function receive_all(u, s)
  while true do
    local n = read_some(u, s, s.fill - s.pos)
    if n <= 0 then
      rest(s, 0)
      if n == 0 then
        return result(s)
      end
      return failed_with(s, n)
    end
  end
end

-- Checks that u can be read from. Returns its connection, or nil and why not.
-- The caller is the method itself: errors are of its caller.
local function readable(u, quiet, ...)
  if type(u) ~= "table" then
    bad_argument(1, "table expected, got " .. P.type_name(u), 3)
  end
  local s = u.s
  if not s or band(s.flags, READY) ~= OPEN then
    local busy = s and band(s.flags, bor(OPEN, SHUT)) == OPEN
      and K.busy(s, IN_USE)
    if busy and K.is_ours(s) then
      return nil, busy
    end
    if not busy then
      if not quiet then
        K.complain_closed(u, "receive")
      end
      return nil, "closed"
    end
  end
  if not K.is_ours(s) then
    error("bad request", 3)
  end
  return s
end

local function receive_line(u)
  local s, err = readable(u)
  if not s then
    return nil, err
  end
  if line(s) == GOT then
    return result(s)
  end
  return more_of_line(u, s)
end

local function receive_bytes(u, size)
  local s, err = readable(u)
  if not s then
    return nil, err
  end
  if size <= 0 or size > MOST then
    if size < 0 then
      bad_argument(2, "bad pattern argument")
    end
    if size == 0 then
      return ""
    end
    size = MOST
  end
  if bytes(s, size) == GOT then
    return result(s)
  end
  return more_bytes(u, s, size)
end

local function receive_pattern(u, pattern)
  local s, err = readable(u)
  if not s then
    return nil, err
  end
  if pattern == "*l" then
    return receive_line(u)
  end
  if pattern == "*a" then
    return receive_all(u, s)
  end
  if type(pattern) == "string" and not pattern:find("^%*.$") then
    bad_argument(2, "bad pattern argument: " .. pattern)
  end
  bad_argument(2, "bad pattern argument")
end

local function receive_slowly(...)
  local count = select("#", ...)
  if count == 1 then
    return receive_line((...))
  end
  if count ~= 2 then
    error("expecting 1 or 2 arguments (including the object), but got "
      .. count, 2)
  end
  local u, pattern = ...
  if is_number(pattern) then
    return receive_bytes(u, integer(pattern))
  end
  return receive_pattern(u, pattern)
end

-- What quick_receive says of a read that failed.
local function unread(code, u, pattern)
  local s = u.s
  rest(s, (not pattern or pattern == "*l") and 1 or 0)
  return failed_with(s, code)
end

local receive
function receive(...)
  local got, code = quick_receive(...)
  if got then
    return got
  end
  if got == nil then
    -- It has waited. Not a loop: no trace of the caller could go through it.
    return receive(...)
  end
  if code then
    return unread(code, ...)
  end
  return receive_slowly(...)
end

local function receiveany(...)
  local count = select("#", ...)
  if count ~= 2 then
    error("expecting 2 arguments (including the object), but got " .. count, 2)
  end
  local u, max = ...
  local s, err = readable(u)
  if not s then
    return nil, err
  end
  if not is_number(max) or integer(max) <= 0 then
    bad_argument(2, "bad max argument")
  end
  max = integer(max)
  max = max < MOST and max or MOST
  while any(s, max) ~= GOT do
    local n = read_some(u, s, 0)
    if n <= 0 then
      rest(s, 0)
      return failed_with(s, n)
    end
  end
  return result(s)
end

local function receive_until(u, s, pattern, size)
  while true do
    local rc = until_(s, pattern, size)
    if rc == GOT then
      return result(s)
    end
    if rc == C.PG_ENDED then
      return nil, nil, nil
    end
    local n = read_some(u, s, 0)
    if n <= 0 then
      until_rest(s, pattern)
      return failed_with(s, n)
    end
  end
end

local function compile(text, inclusive)
  local words = (api.pattern_size(#text) + 7) / 8
  local memory = ffi_new("uint64_t[?]", words)
  local pattern = ffi_cast("pg_pattern *", memory)
  api.pattern(pattern, text, #text, inclusive)
  return pattern, memory
end

local function receiveuntil(...)
  local count = select("#", ...)
  if count ~= 2 and count ~= 3 then
    error("expecting 2 or 3 arguments (including the object), but got "
      .. count, 2)
  end
  local u, text, options = ...
  local inclusive = 0
  if count == 3 then
    if type(options) ~= "table" then
      bad_argument(3, "table expected, got " .. P.type_name(options))
    end
    local v = options.inclusive
    if v ~= nil and type(v) ~= "boolean" then
      error("bad \"inclusive\" option value type: " .. type(v), 2)
    end
    inclusive = v and 1 or 0
  end
  if type(u) ~= "table" then
    bad_argument(1, "table expected, got " .. P.type_name(u))
  end
  if type(text) == "number" then
    text = tostring(text)
  elseif type(text) ~= "string" then
    bad_argument(2, "string expected, got " .. P.type_name(text))
  end
  if text == "" then
    return nil, "pattern is empty"
  end
  local pattern, memory = compile(text, inclusive)
  return function(...)
    local given = select("#", ...)
    if given > 1 then
      error("expecting 0 or 1 arguments, but seen " .. given, 2)
    end
    local size = 0
    if given == 1 then
      if not is_number((...)) then
        bad_argument(1, "number expected, got " .. P.type_name((...)))
      end
      size = integer((...))
      size = size < 0 and 0 or size < MOST and size or MOST
    end
    local s, err = readable(u, true)
    if not s then
      return nil, err
    end
    -- memory is what pattern points to: it must live as long as this function
    return receive_until(u, s, memory and pattern, size)
  end
end

-- Whether more can come from u.
function K.unfinished(u)
  local s = u.s
  return s ~= nil and band(s.flags, OPEN) ~= 0
    and band(s.flags, bor(SHUT, EOF)) == 0
end

K.receive, K.receiveany, K.receiveuntil = receive, receiveany, receiveuntil
