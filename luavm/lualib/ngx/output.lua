-- ngx.say, print, flush, eof, send_headers, redirect.
--
-- Output gathers in the slot and leaves at the end of the run, at a flush,
-- or when more than a threshold has gathered and the script can wait.
-- A script must see the answer as nginx shows it, where the first print
-- sends the head: PG_F_COMMITTED says so, although the bytes are still here.

-- luacheck: ignore 212/...
local P = ...

local ffi = require "ffi"
local bit = require "bit"

local C = ffi.C
local band, bor = bit.band, bit.bor
local error, type, tostring, select, next, rawget = error, type, tostring,
  select, next, rawget
local isyieldable = coroutine.isyieldable
local nkeys, isarray = require "table.nkeys", require "table.isarray"

local ngx, null = P.ngx, P.null
local slot_within, is_sent, variable = P.slot_within, P.is_sent, P.variable
local HANDLER = P.HANDLER_PHASES
local print_bytes = P.core.print
local values, set_field, unsafe_byte = P.request.values,
  P.request.set_field, P.request.unsafe_byte
local vm = P.vm

local COMMITTED, BODY_SEEN, HEADER_ONLY, BUFFERING, EOF = C.PG_F_COMMITTED,
  C.PG_F_BODY_SEEN, C.PG_F_HEADER_ONLY, C.PG_F_BUFFERING, C.PG_F_EOF
local UNBUFFERED = C.PG_F_UNBUFFERED
local SENT = bor(COMMITTED, C.PG_F_HEADERS_SENT)
local RAW = C.PG_F_RAW
local SPECIAL = bor(EOF, HEADER_ONLY, RAW)
local RESP, CONTENT_LENGTH = C.PG_SIDE_RESP, "content-length"
local FILTER_ERROR = "nginx output filter error"

local FLUSH_ABOVE = 65536
local DEPTH = 100

local found = ffi.new("pg_str[1]")

local function text_of(v)
  if v ~= nil and v == null then
    return "null"
  end
  return tostring(v)
end

local function bad_argument(s, before, i, what)
  s.out_len = before
  -- called by add, by output, which has the place of print or say
  P.argument_error(i, what, 4)
end

-- The number of elements, as OpenResty counts an array: its largest key.
-- nil: there are other keys.
local function array_size(t)
  local n = #t
  if nkeys(t) == n then
    -- as many keys as the border says: they are 1..n
    return n
  end
  if not isarray(t) then
    return nil
  end
  for k in next, t do
    if k > n then
      n = k
    end
  end
  return n
end

P.array_size = array_size

-- Writes a table's elements. Returns how that went, as print_bytes does, or
-- what is wrong with the table. strict: ngx.arg takes no nil, booleans, null.
local function write_table(s, t, strict, depth)
  local n = array_size(t)
  if not n then
    return "non-array table found"
  end
  if depth > DEPTH then
    return "table nested too deep"
  end
  for j = 1, n do
    local v = rawget(t, j)
    local kind = type(v)
    local rc
    if kind == "string" then
      rc = print_bytes(s, v, #v)
    elseif kind == "table" then
      rc = P.write_table(s, v, strict, depth + 1)
    elseif kind == "number" or (not strict
      and (kind == "nil" or kind == "boolean" or v == null))
    then
      v = text_of(v)
      rc = print_bytes(s, v, #v)
    else
      rc = "bad data type " .. kind .. " found"
    end
    if rc ~= 0 then
      return rc
    end
  end
  return 0
end

P.write_table = write_table

-- Writes one argument of print or say.
local function add(s, v, i, before, ...)
  local kind = type(v)
  if kind == "string" then
    return print_bytes(s, v, #v)
  end
  if kind == "table" then
    local rc = write_table(s, v, false, 1)
    if type(rc) == "string" then
      bad_argument(s, before, i, rc)
    end
    return rc
  end
  if kind ~= "number" and kind ~= "nil" and kind ~= "boolean" and v ~= null
  then
    bad_argument(s, before, i, "string, number, boolean, nil, "
      .. "ngx.null, or array table expected, but got " .. kind)
  end
  v = text_of(v)
  return print_bytes(s, v, #v)
end

local function is_head(s, ...)
  local m = variable(s, C.PG_VAR_METHOD)
  return m.n == 4 and ffi.string(m.p, 4) == "HEAD"
end

-- The head is decided now. HTTP/1.0 has no chunks: all is gathered first,
-- unless the script said how long it will be.
local function commit(s, body, ...)
  local flags = s.flags
  if band(flags, SENT) ~= 0 then
    return
  end
  if body and s.http_minor == 0 and band(flags, UNBUFFERED) == 0 then
    if band(flags, BUFFERING) ~= 0 then
      return
    end
    if values(s, RESP, CONTENT_LENGTH, #CONTENT_LENGTH, found, 1) == 0 then
      s.flags = bor(flags, BUFFERING)
      return
    end
  end
  flags = bor(flags, COMMITTED)
  if not body and is_head(s) then
    flags = bor(flags, HEADER_ONLY)
  end
  s.flags = flags
  if s.status == 0 then
    s.status = 200
  end
end

local function wait(op, how, ...)
  local t = vm.thread
  t.op_int = how
  P.wait(op)
  local res = t.res
  if res == 0 then
    return 1
  end
  if res == C.PG_RES_TIMEOUT then
    return nil, "timeout"
  end
  return nil, res == C.PG_RES_ABORTED and "client aborted" or FILTER_ERROR
end

-- After a write: a HEAD has no body, and much output should leave early.
local function written(s, before, ...)
  commit(s, true)
  local flags = bor(s.flags, BODY_SEEN)
  s.flags = flags
  if is_head(s) then
    s.flags = bor(flags, HEADER_ONLY)
    s.out_len = before
    return 1
  end
  if s.out_len > FLUSH_ABOVE and band(flags, BUFFERING) == 0
    and isyieldable()
  then
    return wait(C.PG_OP_FLUSH, 1)
  end
  return 1
end

local function refused(flags)
  if band(flags, RAW) ~= 0 then
    return nil, "raw request socket acquired"
  end
  if band(flags, HEADER_ONLY) ~= 0 then
    return nil, "header only"
  end
  return nil, "seen eof"
end

-- Called in a tail call: for errors, the script is one level up.
local function output(newline, ...)
  local s = slot_within(HANDLER)
  if band(s.flags, SPECIAL) ~= 0 then
    return refused(s.flags)
  end
  local n = select("#", ...)
  local before = s.out_len
  -- one by one: the trace of a short loop would be given up
  local a, b, c = ...
  local rc = 0
  if n >= 1 then
    rc = add(s, a, 1, before)
  end
  if n >= 2 and rc == 0 then
    rc = add(s, b, 2, before)
  end
  if n >= 3 and rc == 0 then
    rc = add(s, c, 3, before)
  end
  for i = 4, rc == 0 and n or 0 do
    rc = add(s, (select(i, ...)), i, before)
    if rc ~= 0 then
      break
    end
  end
  if newline and rc == 0 then
    rc = print_bytes(s, "\n", 1)
  end
  if rc ~= 0 then
    s.out_len = before
    return nil, FILTER_ERROR
  end
  if s.out_len == before then
    commit(s, false)
    return 1
  end
  return written(s, before)
end

function ngx.print(...)
  return output(false, ...)
end

function ngx.say(...)
  return output(true, ...)
end

function ngx.flush(...)
  local n = select("#", ...)
  if n > 1 then
    error("attempt to pass " .. n .. " arguments, but accepted 0 or 1", 2)
  end
  local should_wait = ...
  if n == 1 then
    P.check_boolean(should_wait, 1)
  end
  local s = slot_within(HANDLER)
  local flags = s.flags
  if band(flags, SPECIAL) ~= 0 then
    return refused(flags)
  end
  if band(flags, BUFFERING) ~= 0 then
    return nil, "buffering"
  end
  if band(flags, SENT) == 0
    or (band(flags, BODY_SEEN) == 0 and not should_wait)
  then
    return nil, "nothing to flush"
  end
  if not isyieldable() then
    return 1
  end
  return wait(C.PG_OP_FLUSH, should_wait and 1 or 0)
end

function ngx.eof(...)
  if select("#", ...) ~= 0 then
    error("no argument is expected", 2)
  end
  local s = P.slot_of_request()
  if band(s.flags, bor(EOF, RAW)) ~= 0 then
    return refused(band(s.flags, bor(EOF, RAW)))
  end
  P.within(s, HANDLER, 2)
  commit(s, false)
  s.flags = band(bor(s.flags, EOF), bit.bnot(BUFFERING))
  return wait(C.PG_OP_EOF, 0)
end

function ngx.send_headers()
  local s = slot_within(HANDLER)
  if band(s.flags, RAW) ~= 0 then
    return refused(RAW)
  end
  if band(s.flags, SENT) ~= 0 then
    return 1
  end
  commit(s, false)
  return wait(C.PG_OP_SEND_HEADERS, 0)
end

local redirects = {
  [301] = true, [302] = true, [303] = true, [307] = true, [308] = true,
}

function ngx.redirect(...)
  local n = select("#", ...)
  if n ~= 1 and n ~= 2 then
    error("expecting one or two arguments", 2)
  end
  local uri, status = ...
  uri = P.check_string(uri, 1)
  if n == 2 then
    status = P.check_integer(status, 2)
    if not redirects[status] then
      error("only ngx.HTTP_MOVED_TEMPORARILY, ngx.HTTP_MOVED_PERMANENTLY, "
        .. "ngx.HTTP_PERMANENT_REDIRECT, ngx.HTTP_SEE_OTHER, and "
        .. "ngx.HTTP_TEMPORARY_REDIRECT are allowed", 2)
    end
  else
    status = 302
  end
  local s = slot_within(HANDLER)
  P.check_pending(2)
  if is_sent(s) then
    error("attempt to call ngx.redirect after sending out the headers", 2)
  end
  local at = unsafe_byte(uri, #uri)
  if at >= 0 then
    error(P.unsafe_uri(uri, at, "redirect uri"), 2)
  end
  if set_field(s, RESP, C.PG_FIELD_SET, "Location", 8, uri, #uri) ~= 0 then
    error("no memory", 2)
  end
  s.status = status
  s.flags = bor(s.flags, C.PG_F_STATUS_SET)
  return P.leave(s, status)
end
