-- require "ngx.process": what kind of process this is. All workers are VMs of
-- one process, which is nginx's master too.

local P = ...

local ffi = require "ffi"

local C = ffi.C
local error, type = error, type
local vm, note = P.vm, P.core.note
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

-- A worker is a VM: this one takes no more requests, and a new one takes its
-- place, as nginx's master starts a worker for one that has left.
function process.signal_graceful_exit()
  local phase = vm.slot.phase
  if phase == C.PG_PHASE_INIT or phase == C.PG_PHASE_INIT_WORKER then
    error("API disabled in the current context", 2)
  end
  note(vm, C.PG_NOTE_RETIRE, 0, 0, 0)
end

package.preload["ngx.process"] = function()
  return process
end
