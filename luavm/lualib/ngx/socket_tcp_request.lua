-- ngx.req.socket: the request's body, or with raw the client's connection, as
-- a socket. Its reads and writes are ops of the host, which owns the
-- connection; buffer and patterns are those of every other socket.

-- luacheck: ignore 212/...
local P = ...

local ffi = require "ffi"
local bit = require "bit"

local C = ffi.C
local band, bor = bit.band, bit.bor
local error, select, setmetatable, tonumber, ipairs = error, select,
  setmetatable, tonumber, ipairs
local ffi_string = ffi.string

local K, api, vm, req = P.socket, P.sockets, P.vm, P.ngx.req
local values = P.request.values
local slot_within = P.slot_within

local COMMITTED, SENT = C.PG_F_COMMITTED, C.PG_F_HEADERS_SENT
local READ, DISCARDED, RAW = C.PG_F_BODY_READ, C.PG_F_DISCARDED, C.PG_F_RAW
local BUFFERING = C.PG_F_BUFFERING

local body, raw = {}, {}
for _, methods in ipairs({body, raw}) do
  methods.receive, methods.receiveany = K.receive, K.receiveany
  methods.receiveuntil = K.receiveuntil
  methods.settimeout, methods.settimeouts = K.settimeout, K.settimeouts
end
raw.send = K.send

local body_meta, raw_meta = {__index = body}, {__index = raw}
local found = ffi.new("pg_str[1]")

local function header(s, name)
  if values(s, C.PG_SIDE_REQ, name, #name, found, 1) == 0 then
    return nil
  end
  return ffi_string(found[0].p, found[0].n)
end

local function new(slot, read_op, meta)
  local s = K.hold(api.open(vm, slot.sockets.buffer_size))
  s.flags = bor(C.PG_SOCK_OPEN, C.PG_SOCK_DOWNSTREAM)
  return setmetatable({
    s = s, owner = K.owner(slot), read_op = read_op,
    write_op = C.PG_OP_REQ_WRITE,
  }, meta)
end

local function body_socket(slot)
  if header(slot, "transfer-encoding") then
    return nil, "chunked request bodies not supported yet"
  end
  if band(slot.flags, READ) ~= 0 or P.reads_body(slot) then
    return nil, "request body already exists"
  end
  if band(slot.flags, DISCARDED) ~= 0 then
    return nil, "request body discarded"
  end
  local length = tonumber(header(slot, "content-length"))
  if not length or length <= 0 then
    return nil, "no body"
  end
  -- nobody else can have the body now
  slot.flags = bor(slot.flags, READ)
  local u = new(slot, C.PG_OP_REQ_READ, body_meta)
  P.body_reader(slot, u)
  return u
end

local function raw_socket(slot)
  if P.reads_body(slot) then
    return nil, "pending request body reading in some other thread"
  end
  local flags = slot.flags
  if band(flags, BUFFERING) ~= 0 then
    return nil, "http 1.0 buffering"
  end
  if band(flags, RAW) ~= 0 then
    return nil, "duplicate call"
  end
  if band(flags, COMMITTED) ~= 0 and (band(flags, SENT) == 0
    or slot.out_len > 0)
  then
    -- what the script has sent so far goes before what it sends now
    vm.thread.op_int = 1
    P.wait(C.PG_OP_FLUSH)
    slot = vm.slot
  end
  slot.flags = bor(slot.flags, RAW, COMMITTED, SENT)
  return new(slot, C.PG_OP_REQ_READ_RAW, raw_meta)
end

function req.socket(...)
  local n = select("#", ...)
  if n > 1 then
    error("expecting zero arguments, but got " .. n, 2)
  end
  local slot = slot_within(P.HANDLER_PHASES)
  if band(slot.flags, C.PG_F_SUBREQUEST) ~= 0 then
    error("attempt to read the request body in a subrequest", 2)
  end
  if (...) then
    return raw_socket(slot)
  end
  return body_socket(slot)
end
