-- ngx.pipe, as lua-resty-core has it: child processes with pipes to them. All
-- that is done with one is an op (luavm/pipe.go), starting it, too: so it is
-- only to be had where a handler can wait. A process ends with the exchange
-- or timer that has started it.

local P = ...

local error, type, tonumber, tostring = error, type, tonumber, tostring
local ipairs, setmetatable, getmetatable = ipairs, setmetatable, getmetatable
local concat, find, sub = table.concat, string.find, string.sub
local ffi = require "ffi"
local C, ffi_string = ffi.C, ffi.string

local vm, note, wait = P.vm, P.core.note, P.wait
local slot_within, WAITING = P.slot_within, P.WAITING_PHASES

local ALL, BYTES, LINE, ANY = 0, 1, 2, 3
local STDIN, STDOUT, STDERR = 0, 1, 2
local DEFAULT_TIMEOUT, MAX_TIMEOUT = 10000, 0xffffffff

local pipe = {version = P.resty_core_version}

package.loaded["ngx.pipe"] = pipe

local methods = {}
local mt = {__index = methods}

-- Waits for an op whose arguments are set. Returns what it replied, or nil,
-- the error and what was read before it.
local function done(t, op)
  wait(op)
  local data = vm.slot["in"][C.PG_IN_DATA]
  local said = ""
  if data.p ~= nil then
    said = ffi_string(data.p, data.n)
  end
  if t.res == 0 then
    return said
  end
  local nul = find(said, "\0", 1, true)
  return nil, sub(said, 1, nul - 1), sub(said, nul + 1)
end

local function check(proc)
  if getmetatable(proc) ~= mt then
    error("not a process instance", 3)
  end
  slot_within(WAITING)
  return vm.thread
end

local names = {"write_timeout", "stdout_read_timeout", "stderr_read_timeout",
  "wait_timeout"}

local function set_timeouts(proc, ...)
  local given = {...}
  for i = 1, #names do
    local ms = given[i]
    if ms then
      if ms < 0 or ms > MAX_TIMEOUT then
        error("bad " .. names[i] .. " option", 3)
      end
      proc[names[i]] = ms
    end
  end
end

-- texts, each ended by NUL
local function packed(list)
  return #list > 0 and concat(list, "\0") .. "\0" or ""
end

local function check_args(args)
  if type(args) == "string" then
    return {"/bin/sh", "-c", args}
  end
  if type(args) ~= "table" then
    error("bad args arg: table expected, got " .. type(args), 3)
  end
  local list = {}
  for i, arg in ipairs(args) do
    list[i] = tostring(arg)
  end
  if #list == 0 then
    error("bad args arg: non-empty table expected", 3)
  end
  return list
end

local function check_environ(environ)
  if type(environ) ~= "table" then
    error("bad environ option: table expected, got " .. type(environ), 3)
  end
  local list = {}
  for i, env in ipairs(environ) do
    if type(env) ~= "string" then
      error("bad value at index " .. i .. " of environ option: string "
        .. "expected, got " .. type(env), 3)
    end
    if not find(env, "=", 2, true) then
      error("bad value at index " .. i .. " of environ option: "
        .. "'name=[value]' format expected, got '" .. env .. "'", 3)
    end
    list[i] = env
  end
  return list
end

local function guard(handle)
  return ffi.gc(ffi.new("char[1]"), function()
    note(vm, C.PG_NOTE_PIPE, handle, 0, 0)
  end)
end

function pipe.spawn(args, opts)
  if vm.slot.phase == C.PG_PHASE_INIT then
    error("API disabled in the current context", 2)
  end
  slot_within(WAITING)
  args = packed(check_args(args))
  local proc = {}
  opts = opts or {}
  if opts.buffer_size then
    local size = tonumber(opts.buffer_size)
    if not size or size < 1 then
      error("bad buffer_size option", 2)
    end
  end
  local environ = opts.environ and packed(check_environ(opts.environ)) or ""
  for i = 1, #names do
    local ms = opts[names[i]] or DEFAULT_TIMEOUT
    if ms < 0 or ms > MAX_TIMEOUT then
      error("bad " .. names[i] .. " option", 2)
    end
    proc[names[i]] = ms
  end
  local t = vm.thread
  t.op_int = opts.merge_stderr and 1 or 0
  t.op_str.p, t.op_str.n = args, #args
  t.op_str2.p, t.op_str2.n = environ, #environ
  local pid, err = done(t, C.PG_OP_PIPE_SPAWN)
  if not pid then
    return nil, err
  end
  proc._pid = tonumber(pid) or 0
  proc.handle = t.res_num
  proc.guard = guard(proc.handle)
  return setmetatable(proc, mt)
end

function methods:pid()
  return self._pid
end

function methods:set_timeouts(...)
  set_timeouts(self, ...)
end

local function read(t, proc, from, how, n)
  local ms = from == STDERR and proc.stderr_read_timeout
    or proc.stdout_read_timeout
  t.op_int = proc.handle
  t.op_int2 = 2 * how + from - STDOUT
  t.op_num, t.op_num2 = ms / 1000, n
  return done(t, C.PG_OP_PIPE_READ)
end

-- Both outputs have the same readers.
local function add_readers(prefix, from)
  methods[prefix .. "_read_all"] = function(proc)
    return read(check(proc), proc, from, ALL, 0)
  end

  methods[prefix .. "_read_line"] = function(proc)
    return read(check(proc), proc, from, LINE, 0)
  end

  methods[prefix .. "_read_bytes"] = function(proc, n)
    if n <= 0 then
      if n < 0 then
        error("bad len argument", 2)
      end
      return ""
    end
    return read(check(proc), proc, from, BYTES, n)
  end

  methods[prefix .. "_read_any"] = function(proc, max)
    max = tonumber(max)
    if not max or max <= 0 then
      error("bad max argument", 2)
    end
    return read(check(proc), proc, from, ANY, max)
  end
end

add_readers("stdout", STDOUT)
add_readers("stderr", STDERR)

function methods.write(proc, data)
  local t = check(proc)
  local kind = type(data)
  if kind == "table" then
    data = concat(data)
  elseif kind == "number" then
    data = tostring(data)
  elseif kind ~= "string" then
    error("bad data arg: string, number, or table expected, got " .. kind, 2)
  end
  t.op_int = proc.handle
  t.op_num = proc.write_timeout / 1000
  t.op_str.p, t.op_str.n = data, #data
  local ok, err = done(t, C.PG_OP_PIPE_WRITE)
  if not ok then
    return nil, err
  end
  return #data
end

function methods.wait(proc)
  local t = check(proc)
  t.op_int = proc.handle
  t.op_num = proc.wait_timeout / 1000
  local reason, err = done(t, C.PG_OP_PIPE_WAIT)
  if not reason then
    return nil, err
  end
  local status = t.res_num
  return status == 0, reason, status
end

function methods.kill(proc, signal)
  local t = check(proc)
  if type(signal) ~= "number" then
    error("bad signal arg: number expected, got " .. tostring(signal), 2)
  end
  t.op_int, t.op_int2 = proc.handle, signal
  local ok, err = done(t, C.PG_OP_PIPE_KILL)
  if not ok then
    return nil, err
  end
  return true
end

local ends = {stdin = STDIN, stdout = STDOUT, stderr = STDERR}

function methods.shutdown(proc, direction)
  local t = check(proc)
  local which = ends[direction]
  if not which then
    error("bad shutdown arg: " .. tostring(direction), 2)
  end
  t.op_int, t.op_int2 = proc.handle, which
  local ok, err = done(t, C.PG_OP_PIPE_SHUTDOWN)
  if not ok then
    return nil, err
  end
  return true
end
