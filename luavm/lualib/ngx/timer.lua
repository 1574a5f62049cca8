-- ngx.timer. Go knows of a timer its id and when it is due (luavm/timer.go);
-- the function and its arguments stay here.

-- luacheck: ignore 212/...
local P = ...

local error, tonumber, type, select, unpack = error, tonumber, type, select,
  unpack
local format, min, getinfo = string.format, math.min, debug.getinfo
local bit = require "bit"
local ffi = require "ffi"
local C, cast = ffi.C, ffi.cast

local vm, core = P.vm, P.core
local note, log = core.note, core.log
local NOTE_TIMER, ALERT = C.PG_NOTE_TIMER, 2
local MAX_DELAY = 1e12         -- ms
-- all phases but the last: nobody would come back
local MAKERS = bit.bnot(P.phase_mask(C.PG_PHASE_EXIT_WORKER))

local pending = {}             -- by id: {f =, every =, n =, arguments...}
local count, ids = 0, 0
local free = 0                 -- ids that can be given again: a list in next_id
local next_id = {}

local timer = {}

P.ngx.timer = timer

local function take_id()
  local id = free
  if id == 0 then
    ids = ids + 1
    return ids
  end
  free = next_id[id]
  return id
end

local function drop(id)
  pending[id] = nil
  next_id[id] = free
  free = id
  count = count - 1
end

local function check_context()
  if vm.slot.phase == C.PG_PHASE_INIT then
    error("no request", 3)
  end
end

-- Its callers end in a tail call: level 2 is the script's line.
local function add(name, every, ...)
  local n = select("#", ...)
  if n < 2 then
    error("expecting at least 2 arguments but got " .. n, 2)
  end
  local given, f = ...
  local delay = tonumber(given)
  if not delay or type(given) == "cdata" then
    error("bad argument #1 to '" .. name .. "' (number expected, got "
      .. P.type_name(given) .. ")", 2)
  end
  local ms = min(delay * 1000, MAX_DELAY)
  ms = ms - ms % 1
  if every and ms == 0 then
    error("delay cannot be zero", 2)
  end
  if type(f) ~= "function" or getinfo(f, "S").what == "C" then
    error("bad argument #2 to '" .. name .. "' (Lua function expected)", 2)
  end
  check_context()
  P.within(vm.slot, MAKERS, 2)
  if vm.exiting ~= 0 and ms ~= 0 then
    return nil, "process exiting"
  end
  if count >= vm.timers_max_pending then
    return nil, "too many pending timers"
  end
  local id = take_id()
  count = count + 1
  pending[id] = {f = f, every = every and ms / 1000, n = n - 2,
    select(3, ...)}
  if note(vm, NOTE_TIMER, id, 0, ms > 0 and ms / 1000 or 0) ~= 0 then
    drop(id)
    error("no memory", 2)
  end
  return 1
end

function timer.at(...)
  return add("at", false, ...)
end

function timer.every(...)
  return add("every", true, ...)
end

function timer.running_count()
  check_context()
  return vm.timers_running
end

function timer.pending_count()
  check_context()
  return count
end

local function refuse(f)
  local where = getinfo(f, "S")
  local line = format("lua failed to run timer with function defined at %s:%d:"
    .. " %d lua_max_running_timers are not enough", where.source,
    where.linedefined, vm.timers_max_running)
  log(vm, ALERT, line, #line)
end

-- The handler of all timers. It ends in a tail call, so that a traceback shows
-- the script's function alone. "..." keeps traces from beginning here: see
-- ngx/slot.lua.
function P.timer_handler(...)
  local data = cast("const uint32_t *", vm.slot["in"][C.PG_IN_DATA].p)
  local id, premature = data[0], data[1] ~= 0
  if id == 0 then
    return P.mend_semaphores()
  end
  local t = pending[id]
  if t.every and vm.exiting == 0
    and note(vm, NOTE_TIMER, id, 0, t.every) == 0
  then
    premature = false
  else
    drop(id)
  end
  if vm.timers_running > vm.timers_max_running then
    return refuse(t.f)
  end
  return t.f(premature, unpack(t, 1, t.n))
end
