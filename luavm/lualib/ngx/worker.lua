-- ngx.worker: a worker is a VM here, and all are one process.

local P = ...

local ffi = require "ffi"

ffi.cdef "int getpid(void);"

local getpid = ffi.C.getpid
local vm, worker = P.vm, P.ngx.worker
local INIT, INIT_WORKER = ffi.C.PG_PHASE_INIT, ffi.C.PG_PHASE_INIT_WORKER

-- nil before the VM has its place, as in nginx's master
function worker.id()
  local id = vm.worker_id
  return id >= 0 and id or nil
end

function worker.count()
  return vm.worker_count
end

function worker.pid()
  return getpid()
end

function worker.pids()
  local phase = vm.slot.phase
  if phase == INIT or phase == INIT_WORKER then
    return nil, "API disabled in the current context"
  end
  local pids, pid = {}, getpid()
  for i = 1, vm.worker_count do
    pids[i] = pid
  end
  return pids
end

function worker.exiting()
  return vm.exiting ~= 0
end
