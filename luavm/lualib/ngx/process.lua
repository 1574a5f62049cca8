-- require "ngx.process": what kind of process this is. All workers are VMs of
-- one process, which is nginx's master too.

local P = ...

local ffi = require "ffi"

local C = ffi.C
local error, type = error, type
local vm = P.vm
local pid = P.ngx.worker.pid

local process = {version = P.resty_core_version}

function process.type()
  if vm.slot.phase == C.PG_PHASE_INIT then
    return "master"
  end
  return "worker"
end

function process.get_master_pid()
  return pid()
end

function process.enable_privileged_agent(connections)
  if vm.slot.phase ~= C.PG_PHASE_INIT then
    return nil, "API disabled in the current context"
  end
  if connections and (type(connections) ~= "number" or connections < 0) then
    return nil, "bad 'connections' argument: number expected and greater "
      .. "than 0"
  end
  return nil, "all workers have the rights of one process: no other would "
    .. "have more"
end

function process.signal_graceful_exit()
  error("a worker cannot leave alone: all are one process", 2)
end

package.preload["ngx.process"] = function()
  return process
end
