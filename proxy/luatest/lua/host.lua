-- The way between a spec and its host, which is Go: steps come in, values go
-- out, and host.ask waits for what only the host can do.

local P = ...

local error, pairs = error, pairs
local ffi = require "ffi"
local C, ffi_string = ffi.C, ffi.string

local wire = require "perigee.spec.wire"
local vm = P.vm

local host = {}

local function data()
  local d = vm.slot["in"][C.PG_IN_DATA]
  if d.p == nil then
    return nil
  end
  return wire.decode(ffi_string(d.p, d.n))
end

local function output(value)
  local bytes = wire.encode(value)
  if P.core.print(vm.slot, bytes, #bytes) ~= 0 then
    error("the result of a step is larger than a spec's output may be", 0)
  end
end

-- Does what the host asks for: {verb = argument}, answered by verbs[verb].
function host.step(verbs)
  for verb, argument in pairs(data()) do
    output(verbs[verb](argument))
  end
end

-- Has the host perform a command, {verb = ..., ...}, and returns what came of
-- it, or nil and what kept it from being done.
function host.try(command)
  local bytes = wire.encode(command)
  local thread = vm.thread
  thread.op_str.p, thread.op_str.n = bytes, #bytes
  P.wait(C.PG_OP_SPEC)
  local reply = data()
  if reply.error then
    return nil, reply.error
  end
  return reply.ok
end

-- try, with an error raised.
function host.ask(command)
  local value, err = host.try(command)
  if err then
    error(err, 0)
  end
  return value
end

return host
