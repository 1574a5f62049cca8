-- ngx.semaphore, as lua-resty-core has it: light threads of all exchanges of
-- this VM wait in one line, first come, first served.
--
--   {count, first <-> ... <-> last}      resources; who waits
--   waiter {thread, serial, woken}       one wait of a light thread
--
-- A waiter is as good as its thread: if that has begun another wait, or was
-- killed with its exchange, the record is dead and is passed over. post()
-- decides who goes on, by woken; that the thread's op may end by its timeout
-- at the same moment changes nothing. A thread that is killed between its
-- being woken and its going on has taken nothing: Go tells us (mend), and the
-- next in line gets it.

local P = ...

local error, type, tonumber, pairs, setmetatable = error, type, tonumber,
  pairs, setmetatable
local floor = math.floor
local ffi = require "ffi"
local C = ffi.C

local vm, note = P.vm, P.core.note
local WAITING, NOTE_GRANT = C.PG_THREAD_WAITING, C.PG_NOTE_GRANT
local TIMEOUT = C.PG_RES_TIMEOUT

local semaphore = {version = P.resty_core_version}
local mt = {__index = semaphore}

package.loaded["ngx.semaphore"] = semaphore

-- Woken, and has not gone on yet: the line by waiter.
local granted = {}

local function is_alive(w)
  local t = w.thread
  return t.serial == w.serial and t.state == WAITING
end

local function unlink(line, w)
  local before, after = w.before, w.after
  if before then
    before.after = after
  else
    line.first = after
  end
  if after then
    after.before = before
  else
    line.last = before
  end
  w.before, w.after = nil, nil
  line.waiting = line.waiting - 1
end

local function append(line, w)
  local last = line.last
  w.before, line.last = last, w
  if last then
    last.after = w
  else
    line.first = w
  end
  line.waiting = line.waiting + 1
end

-- Waiters whose exchange has ended leave the line.
local function sweep(line)
  local w = line.first
  while w do
    local after = w.after
    if not is_alive(w) then
      unlink(line, w)
    end
    w = after
  end
  line.room = 2 * line.waiting + 16
end

local function wake(line)
  local w = line.first
  while w and line.count > 0 do
    local after = w.after
    if is_alive(w) then
      local t = w.thread
      if note(vm, NOTE_GRANT, t.slot_id, t.index, w.serial) ~= 0 then
        return -- no memory: it waits on
      end
      line.count = line.count - 1
      w.woken = true
      granted[w] = line
    end
    unlink(line, w)
    w = after
  end
end

-- What was given to threads that died before they could take it.
function P.mend_semaphores()
  local lines = {}
  for w, line in pairs(granted) do
    if not is_alive(w) then
      granted[w] = nil
      line.count = line.count + 1
      lines[line] = true
    end
  end
  for line in pairs(lines) do
    wake(line)
  end
end

local function line_of(self)
  if type(self) ~= "table" or type(self.sem) ~= "table" then
    error("not a semaphore instance", 3)
  end
  return self.sem
end

function semaphore.new(n)
  n = tonumber(n) or 0
  if n < 0 then
    error("no negative number", 2)
  end
  return setmetatable({
    sem = {count = floor(n), waiting = 0, room = 16},
  }, mt)
end

function semaphore:wait(seconds)
  local line = line_of(self)
  if vm.slot.phase == C.PG_PHASE_INIT then
    error("no request found", 2)
  end
  seconds = tonumber(seconds)
  if not seconds then
    error("bad argument #1 to 'wait' (number expected)", 2)
  end
  if seconds < 0 then
    error("no negative number", 2)
  end
  local err = P.cannot_wait(vm.slot)
  if err then
    return nil, err
  end
  local first = line.first
  while first and not is_alive(first) do
    unlink(line, first)
    first = line.first
  end
  if not first and line.count > 0 then
    line.count = line.count - 1
    return true
  end
  local ms = floor(seconds * 1000)
  if ms == 0 then
    return nil, "timeout"
  end
  if line.waiting >= line.room then
    sweep(line)
  end
  local t = vm.thread
  local w = {thread = t, serial = (t.serial + 1) % 2 ^ 32, woken = false}
  append(line, w)
  t.op_num = ms / 1000
  P.wait(C.PG_OP_SEMAPHORE)
  if w.woken then
    granted[w] = nil
    return true
  end
  unlink(line, w)
  return false, t.res == TIMEOUT and "timeout" or "aborted"
end

function semaphore:post(n)
  local line = line_of(self)
  n = n and tonumber(n) or 1
  if n < 1 then
    error("positive number required", 2)
  end
  line.count = line.count + floor(n)
  wake(line)
  return true
end

function semaphore:count()
  local line = line_of(self)
  sweep(line)
  return line.count - line.waiting
end
