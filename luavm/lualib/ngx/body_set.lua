-- Bodies of requests in files, and bodies that scripts make: get_body_file,
-- get_body_reader, set_body_data, set_body_file, init_body, append_body,
-- finish_body.
--
-- A file that replaces another, or is replaced by a text, is removed here if
-- it was temporary. What is left when the exchange ends goes with it.

-- luacheck: ignore 212/...
local P = ...

local ffi = require "ffi"
local bit = require "bit"

local C = ffi.C
local ffi_string = ffi.string
local band, bor, bnot = bit.band, bit.bor, bit.bnot
local error, tostring, select, tonumber = error, tostring, select, tonumber
local concat, format, find, open = table.concat, string.format, string.find,
  io.open
local min = math.min

ffi.cdef [[
int mkstemp(char *pattern);
int close(int fd);
int unlink(const char *path);
]]

local req = P.ngx.req
local slot_of_request = P.slot_of_request
local request = P.request
local get_body, set_text, set_field, body_file = request.body,
  request.set_text, request.set_field, request.body_file
local READ, DISCARDED, TEMP = C.PG_F_BODY_READ, C.PG_F_DISCARDED,
  C.PG_F_BODY_TEMP
local FILE_VAR = C.PG_VAR_BODY_FILE

local CHUNK = 65536
local out = ffi.new("pg_str")

local function file_of(s)
  local path = s.vars[FILE_VAR]
  return path.p ~= nil and ffi_string(path.p, path.n) or nil
end

function req.get_body_file(...)
  local n = select("#", ...)
  if n ~= 0 then
    error("expecting 0 arguments but seen " .. n, 2)
  end
  return file_of(slot_of_request())
end

local function is_read(s)
  if band(s.flags, DISCARDED) ~= 0 then
    error("request body already discarded asynchronously", 3)
  end
  if band(s.flags, READ) == 0 then
    error("request body not read yet", 3)
  end
end

-- An iterator over the body, wherever it is, in pieces of at most size bytes.
function req.get_body_reader(size)
  size = size == nil and CHUNK or P.check_integer(size, 1)
  if size < 1 then
    error("bad size argument: " .. size, 2)
  end
  local s = slot_of_request()
  is_read(s)
  local path = file_of(s)
  if path then
    local f, err = open(path, "rb")
    if not f then
      error(err, 2)
    end
    return function()
      local piece = f and f:read(size)
      if not piece and f then
        f:close()
        f = nil
      end
      return piece
    end
  end
  local at = 0
  return function()
    if get_body(slot_of_request(), out) ~= 1 or at >= out.n then
      return nil
    end
    local from = at
    at = min(at + size, out.n)
    return ffi_string(out.p + from, at - from)
  end
end

local function set_length(s, n)
  local length = format("%.0f", n)
  if set_field(s, C.PG_SIDE_REQ, C.PG_FIELD_SET, "Content-Length", 14,
    length, #length) ~= 0
  then
    error("no memory", 3)
  end
end

-- Lets go of the file that the body is in.
local function leave_file(s)
  if band(s.flags, TEMP) ~= 0 then
    s.flags = band(s.flags, bnot(TEMP))
    local path = file_of(s)
    if path then
      C.unlink(path)
    end
  end
end

local function use_text(s, body)
  leave_file(s)
  if set_text(s, C.PG_EDIT_BODY, C.PG_BODY_TEXT, body, #body) ~= 0 then
    error("no memory", 3)
  end
end

local function use_file(s, path, size, temp)
  leave_file(s)
  if size == 0 then
    -- as if there was no body; nginx keeps no file of nothing either
    if temp then
      C.unlink(path)
    end
    return use_text(s, "")
  end
  if body_file(s, temp and C.PG_BODY_TEMP or C.PG_BODY_FILE, path, #path,
    size) ~= 0
  then
    error("no memory", 3)
  end
  if temp then
    s.flags = bor(s.flags, TEMP)
  end
end

function req.set_body_data(...)
  local n = select("#", ...)
  if n ~= 1 then
    error("expecting 1 arguments but seen " .. n, 2)
  end
  local body = P.check_string((...), 1)
  local s = slot_of_request()
  is_read(s)
  use_text(s, body)
  set_length(s, #body)
end

function req.set_body_file(...)
  local n = select("#", ...)
  if n ~= 1 and n ~= 2 then
    error("expecting 1 or 2 arguments but seen " .. n, 2)
  end
  local path, clean = ...
  path = P.check_string(path, 1)
  if n == 2 then
    P.check_boolean(clean, 2)
  end
  local s = slot_of_request()
  is_read(s)
  local f = not find(path, "\0", 1, true) and open(path, "rb")
  if not f then
    error('open() "' .. path .. '" failed', 2)
  end
  local size = f:seek("end")
  f:close()
  use_file(s, path, size or 0, clean)
  set_length(s, size or 0)
end

-- Bodies under construction, by slot; gen tells of a slot's former exchange.
--
--   parts of the body, up to the buffer's size  -->  a text
--   more than that                              -->  appended to a file
local building = {}

function req.init_body(...)
  local n = select("#", ...)
  if n > 1 then
    error("expecting 0 or 1 argument but seen " .. n, 2)
  end
  local limit
  if n == 1 then
    limit = P.check_integer((...), 1)
    if limit < 0 then
      error("bad size argument: " .. limit, 2)
    end
  end
  local s = slot_of_request()
  is_read(s)
  use_text(s, "")
  building[s.id] = {
    gen = s.gen, n = 0, size = 0, waiting = 0,
    limit = limit or tonumber(s.body_buffer),
  }
end

local function built(s)
  local body = building[s.id]
  if not body or body.gen ~= s.gen then
    error("request_body not initialized", 3)
  end
  return body
end

-- A file of nobody but us, in the folder of such files.
local function new_file(s)
  local pattern = P.body_temp .. "/perigee-body-XXXXXX"
  local name = ffi.new("char[?]", #pattern + 1, pattern)
  local fd = C.mkstemp(name)
  if fd < 0 then
    error("fail to write file: cannot make " .. pattern, 4)
  end
  C.close(fd)
  local path = ffi_string(name)
  if body_file(s, C.PG_BODY_BEGUN, path, #path, 0) ~= 0 then
    C.unlink(path)
    error("no memory", 4)
  end
  return path
end

local function flush(s, body)
  body.path = body.path or new_file(s)
  local f, err = open(body.path, "ab")
  local ok = f
  if f then
    ok, err = f:write(concat(body, "", 1, body.n))
    ok = f:close() and ok
  end
  if not ok then
    error("fail to write file: " .. tostring(err), 3)
  end
  body.n, body.waiting = 0, 0
end

function req.append_body(...)
  local n = select("#", ...)
  if n ~= 1 then
    error("expecting 1 arguments but seen " .. n, 2)
  end
  local part = P.check_string((...), 1)
  local s = slot_of_request()
  local body = built(s)
  body.n = body.n + 1
  body[body.n] = part
  body.size = body.size + #part
  body.waiting = body.waiting + #part
  if body.size > body.limit and body.waiting >= CHUNK then
    flush(s, body)
  end
end

function req.finish_body(...)
  local n = select("#", ...)
  if n ~= 0 then
    error("expecting 0 argument but seen " .. n, 2)
  end
  local s = slot_of_request()
  local body = built(s)
  building[s.id] = nil
  if body.size > body.limit then
    flush(s, body)
    use_file(s, body.path, body.size, true)
  else
    use_text(s, concat(body, "", 1, body.n))
  end
  set_length(s, body.size)
end
