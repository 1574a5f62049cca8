-- The request's body (ngx.req.read_body and friends) and the chunk of the
-- answer's body in body_filter (ngx.arg).

-- luacheck: ignore 212/...
local P = ...

local ffi = require "ffi"
local bit = require "bit"

local C = ffi.C
local ffi_string = ffi.string
local band, bor = bit.band, bit.bor
local error, type, tostring, tonumber, select = error, type, tostring,
  tonumber, select
local pairs, concat, gsub = pairs, table.concat, string.gsub

local req = P.ngx.req
local vm = P.vm
local slot_of_request, slot_within = P.slot_of_request, P.slot_within
local HANDLER = P.HANDLER_PHASES
local request = P.request
local get_body = request.body
local print_bytes = P.core.print
local READ, DISCARDED = C.PG_F_BODY_READ, C.PG_F_DISCARDED
local DATA_IN = C.PG_IN_DATA

local out = ffi.new("pg_str")

-- Who reads the body of a slot's exchange just now: a thread in read_body, or
-- a socket with bytes left to read.
local readers = {}

function P.body_reader(s, u)
  readers[s.id] = {gen = s.gen, socket = u}
end

function P.reads_body(s)
  local r = readers[s.id]
  if not r or r.gen ~= s.gen then
    return false
  end
  local u = r.socket
  return not u or P.socket.unfinished(u)
end

local function no_arguments(n)
  if n ~= 0 then
    error("expecting 0 arguments but seen " .. n, 3)
  end
end

function req.read_body(...)
  no_arguments(select("#", ...))
  local s = slot_within(HANDLER)
  if band(s.flags, bor(READ, DISCARDED)) ~= 0 then
    return
  end
  local t = vm.thread
  P.body_reader(s, nil)
  P.wait(C.PG_OP_READ_BODY)
  s = vm.slot
  readers[s.id] = nil
  if t.res >= 300 then
    -- too large, too slow: the answer is the driver's, not the script's
    return P.leave(s, t.res)
  end
  s.flags = bor(s.flags, READ)
end

function req.discard_body(...)
  no_arguments(select("#", ...))
  local s = slot_of_request()
  if band(s.flags, bor(READ, DISCARDED)) ~= 0 then
    return
  end
  s.flags = bor(s.flags, DISCARDED)
  if band(bit.lshift(1, s.phase), HANDLER) ~= 0 and coroutine.isyieldable()
  then
    P.wait(C.PG_OP_DISCARD_BODY)
  end
end

function req.get_body_data(...)
  local n = select("#", ...)
  if n > 1 then
    error("expecting 0 or 1 arguments but seen " .. n, 2)
  end
  local max = 0
  if n == 1 then
    max = P.check_number((...), 1)
  end
  local s = slot_of_request()
  if get_body(s, out) ~= 1 or out.n == 0 then
    return nil
  end
  if max > 0 and out.n > max then
    return ffi_string(out.p, max)
  end
  return ffi_string(out.p, out.n)
end

-- ngx.arg: the chunk in body_filter; the arguments in set_by_lua, and in
-- handlers of access whose value is asked for: index 0 takes what the script
-- returned

local SET, ACCESS, VALUE = C.PG_PHASE_SET, C.PG_PHASE_ACCESS, C.PG_F_VALUE
local edit, EDIT_VALUE = P.core.edit, C.PG_EDIT_VALUE

local function chunk_slot(...)
  local s = slot_of_request()
  if s.phase ~= C.PG_PHASE_BODY_FILTER and s.phase ~= SET
    and (s.phase ~= ACCESS or band(s.flags, VALUE) == 0)
  then
    error("API disabled in the current context", 3)
  end
  return s
end

local function is_text(v)
  return type(v) == "string" or type(v) == "number"
end

-- A table as Go reads it: names and values, with a NUL behind each. A list's
-- words have commas between them.
local function fields(t)
  local parts = {}
  for k, v in pairs(t) do
    if type(v) == "table" then
      local words = {}
      for i = 1, #v do
        words[i] = tostring(v[i])
      end
      v = concat(words, ",")
    end
    if type(k) == "string" and is_text(v) then
      parts[#parts + 1] = k .. "\0" .. gsub(tostring(v), "%z", " ") .. "\0"
    end
  end
  return concat(parts)
end

local function return_value(s, v)
  local aux = 0
  if type(v) == "table" then
    v, aux = fields(v), 1
  elseif not is_text(v) then
    return
  end
  v = tostring(v)
  if edit(s, EDIT_VALUE, aux, nil, 0, v, #v) ~= 0 then
    error("no memory", 3)
  end
end

-- The arguments come one behind the other, each behind its length.
local function read_argument(s, i)
  local index = tonumber(i)
  if not index then
    error("bad argument #2 to '__index' (number expected, got "
      .. P.type_name(i) .. ")", 3)
  end
  local data = s["in"][DATA_IN]
  local at = 0
  while at + 4 <= data.n do
    local n = ffi.cast("const uint32_t *", data.p + at)[0]
    at = at + 4
    index = index - 1
    if index == 0 then
      return ffi_string(data.p + at, n)
    end
    at = at + n
  end
  return nil
end

local function read_chunk(_, i, ...)
  local s = chunk_slot()
  if s.phase == SET or s.phase == ACCESS then
    return read_argument(s, i)
  end
  if i == 1 then
    if s.chunk_set ~= 0 then
      return ffi_string(s.out, s.out_len)
    end
    local data = s["in"][DATA_IN]
    return data.p ~= nil and ffi_string(data.p, data.n) or ""
  elseif i == 2 then
    return s.chunk_last ~= 0
  end
  return nil
end

local function write_chunk(_, i, v, ...)
  local s = chunk_slot()
  local index = tonumber(i)
  if s.phase == SET or s.phase == ACCESS then
    if index ~= 0 then
      error("API disabled in the current context", 2)
    end
    if s.phase == ACCESS then
      return return_value(s, v)
    end
    s.out_len = 0
    if is_text(v) then
      v = tostring(v)
      print_bytes(s, v, #v)
    end
    return
  end
  if index ~= 1 and index ~= 2 then
    if not index then
      error("bad argument #2 to '__newindex' (number expected, got "
        .. P.type_name(i) .. ")", 2)
    end
    error("bad index: " .. index, 2)
  end
  if index == 2 then
    s.chunk_last = v and 1 or 0
    return
  end
  local kind = type(v)
  if kind ~= "string" and kind ~= "number" and kind ~= "nil"
    and kind ~= "table"
  then
    error("bad chunk data type: " .. kind, 2)
  end
  s.out_len = 0
  local rc = 0
  if kind == "table" then
    rc = P.write_table(s, v, true, 1)
  elseif v ~= nil then
    v = tostring(v)
    rc = print_bytes(s, v, #v)
  end
  if rc ~= 0 then
    s.out_len = 0
    error(type(rc) == "string" and "bad argument #3 to '__newindex' ("
      .. rc .. ")" or "no memory", 2)
  end
  s.chunk_set = 1
end

P.ngx.arg = setmetatable({}, {__index = read_chunk, __newindex = write_chunk})
