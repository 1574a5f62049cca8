-- ngx.thread: light threads. Which of them runs next is decided in thread.c;
-- here is what scripts see of them: parents, results, states.
--
-- A thread is the coroutine that spawn returns. Its record says whose child it
-- is and, once it has ended, what it returned, until its parent has asked.

local P = ...

local error, type, unpack, select = error, type, unpack, select
local xpcall, setmetatable = xpcall, setmetatable
local gsub, find, match, sub = string.gsub, string.find, string.match,
  string.sub
local concat = table.concat
local std = coroutine
local create, running, yield = std.create, std.running, std.yield
local traceback, getinfo, getlocal = debug.traceback, debug.getinfo,
  debug.getlocal
local ffi = require "ffi"
local C = ffi.C

local vm, core, adopt = P.vm, P.core, P.adopt
local slot_within, WAITING, WAIT = P.slot_within, P.WAITING_PHASES, P.WAIT
local ready, kill = core.ready, core.kill
local log, held = core.log, P.held
local ERR, MAX_PARENTS = 4, 8

-- By coroutine. A record lives as long as its key alone if nothing in it leads
-- back to the coroutine: so it has neither that nor the parent, whose stack may
-- hold its children, and gives function and arguments away when they start.
local records = setmetatable({}, {__mode = "k"})
local parents = setmetatable({}, {__mode = "kv"})
local DEAD = {state = "dead"}

local thread = {}

P.ngx.thread = thread

-- The frames of a coroutine without those of lualib: a function of ours that
-- waits stands there as what it is in OpenResty.
local function frames(text)
  text = gsub(text, "^\n?stack traceback:", "")
  local ours = find(text, "\n\t[C]: in function 'xpcall'", 1, true)
  if ours then
    text = sub(text, 1, ours - 1)
  end
  local waits, at = match(text, "^\n\t%[C%]: in function 'yield'()"), 1
  local api
  while waits do
    local name
    at = waits
    name, waits = match(text, "^\n\tperigee:[^\n]* in function '([^'\n]*)'()",
      at)
    api = name or api
  end
  if api then
    return "\n\t[C]: in function '" .. api .. "'" .. sub(text, at)
  end
  return text
end

-- OpenResty hands on what error() was called with, and behind it the message
-- with its place; so do we.
local function explain(message)
  local failure = {message = message, frames = frames(traceback("", 2))}
  if type(message) == "string" and getinfo(2, "f").func == error then
    local _, given = getlocal(2, 1)
    if type(given) == "string" and given ~= message then
      failure.given = given
    end
  end
  return failure
end

local function log_death(co, failure)
  if vm.log_level < ERR then
    return
  end
  local message = failure.message
  if type(message) ~= "string" and type(message) ~= "number" then
    message = "unknown reason"
  end
  local line = {"lua user thread aborted: runtime error: ", message,
    "\nstack traceback:\ncoroutine 0:", failure.frames or ""}
  local depth = 0
  co = parents[co]
  while co and depth < MAX_PARENTS do
    depth = depth + 1
    line[#line + 1] = "\ncoroutine " .. depth .. ":" .. frames(traceback(co))
    co = parents[co]
  end
  line = concat(line)
  log(vm, ERR, line, #line)
end

-- The end of a thread: who waits for it goes on at once.
local function finish(r, ok, ...)
  local co = running()
  if not ok then
    local failure = ...
    if type(failure) ~= "table" then
      failure = {message = failure} -- the handler itself had no memory
    end
    log_death(co, failure)
    r.n, r[1], r[2] = 2, false, failure.message
    if failure.given then
      r.n, r[2], r[3] = 3, failure.given, failure.message
    end
  else
    r.n = select("#", ...) + 1
    r[1] = true
    for i = 2, r.n do
      r[i] = (select(i - 1, ...))
    end
  end
  r.state, held[co] = "zombie", "zombie"
  local waiter = r.waiter
  r.waiter = nil
  if waiter then
    waiter.done = co
    ready(vm, waiter.thread, 1)
  end
end

local function body()
  local r = records[running()]
  local call, args = r.call, r.args
  r.call, r.args = nil, nil
  return finish(r, xpcall(call, explain, unpack(args, 1, args.n)))
end

local function start(f, hidden, ...)
  local co = create(body)
  local parent = running()
  local r = {
    state = "alive", call = f, args = {n = select("#", ...), ...},
  }
  records[co], parents[co] = r, parent
  held[co], held[parent] = "running", held[parent] or "running"
  r.thread = ffi.cast("pg_thread *", adopt(co, hidden))
  return co, r
end

-- Runs f(...) in a thread that the handler does not wait for.
function P.spawn_hidden(f, ...)
  local _, r = start(f, true, ...)
  ready(vm, r.thread, 0)
  return r
end

function thread.spawn(f, ...)
  if type(f) ~= "function" then
    error("bad argument #1 to 'spawn' (function expected, got "
      .. P.type_name(f) .. ")", 2)
  end
  slot_within(WAITING)
  local co, r = start(f, false, ...)
  -- the child runs first, until it waits; then whoever is ready; then we
  ready(vm, r.thread, 1)
  yield(WAIT)
  return co
end

local function record_of(co, i)
  if type(co) ~= "thread" then
    error("bad argument #" .. i .. " to 'wait' (coroutine expected)", 3)
  end
  local r = records[co]
  if not r then
    error("attempt to wait on a coroutine that is not a user thread", 3)
  end
  if parents[co] ~= running() then
    error("only the parent coroutine can wait on the thread", 3)
  end
  return r
end

local function take(co)
  local r = records[co]
  records[co], held[co] = DEAD, "dead"
  return unpack(r, 1, r.n)
end

function thread.wait(...)
  slot_within(WAITING)
  local n = select("#", ...)
  if n < 1 then
    error("at least one coroutine should be specified", 2)
  end
  local waiter = {thread = vm.thread}
  local alive = 0
  for i = 1, n do
    local r = record_of((select(i, ...)), i)
    if r.state == "zombie" then
      for j = 1, i - 1 do
        records[(select(j, ...))].waiter = nil
      end
      return take((select(i, ...)))
    end
    if r.state == "alive" then
      alive = alive + 1
      r.waiter = waiter
    end
  end
  if alive == 0 then
    return nil, "already waited or killed"
  end
  P.wait(C.PG_OP_PARK)
  for i = 1, n do
    records[(select(i, ...))].waiter = nil
  end
  return take(waiter.done)
end

function thread.kill(co)
  slot_within(WAITING)
  if type(co) ~= "thread" then
    error("bad argument #1 to 'kill' (coroutine expected)", 2)
  end
  local r = records[co]
  if not r then
    return nil, "not user thread"
  end
  if parents[co] ~= running() then
    return nil, "killer not parent"
  end
  if r.state == "zombie" then
    records[co], held[co] = DEAD, "dead"
    return nil, "already terminated"
  end
  if r.state == "dead" then
    return nil, "already waited or killed"
  end
  if r.thread.op == C.PG_OP_CAPTURE then
    return nil, "pending subrequests"
  end
  records[co], held[co] = DEAD, "dead"
  kill(vm, r.thread)
  return 1
end
