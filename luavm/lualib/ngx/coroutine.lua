-- coroutine.*: user coroutines in which waiting works.
--
-- A function that waits yields WAIT. A coroutine made by a script is resumed
-- by the functions here; when it comes back with WAIT they yield WAIT on, from
-- coroutine to coroutine up to the host, and on the way back resume each
-- again. Other yields are the script's own.
--
-- When a coroutine made by wrap() dies, its error goes on in the caller, whose
-- traceback would not show where it happened: the dead coroutines are kept in
-- P.dead until the error is reported or replaced by another.

local P = ...

local error, type, setmetatable = error, type, setmetatable
local std = coroutine
local create, resume, status = std.create, std.resume, std.status
local yield, running = std.yield, std.running

local WAIT, dead = P.WAIT, P.dead
local MAX_DEAD = 8

-- What a coroutine is that Lua calls suspended or dead, because it waits for
-- the host, or is a light thread: running, normal, zombie.
local held = setmetatable({}, {__mode = "k"})

P.held = held

local passed
-- what resume returned, once it is not WAIT; nothing stays nothing, not nil
function passed(co, ok, ...)
  if ok and (...) == WAIT then
    local me = running()
    local was = held[me]
    if not held[co] then
      held[co] = "running"
    end
    held[me] = "normal"
    yield(WAIT)
    held[me] = was
    held[co] = nil
    return passed(co, resume(co))
  end
  return ok, ...
end

-- resume, but for a coroutine that waits or is a light thread
local function try(co, ...)
  local state = held[co]
  if state then
    return false, "cannot resume " .. state .. " coroutine"
  end
  return resume(co, ...)
end

local function check(co, name)
  if type(co) ~= "thread" then
    error("bad argument #1 to '" .. name .. "' (coroutine expected)", 3)
  end
end

local function explained(co, ok, ...)
  if not ok and (...) == "cannot resume running coroutine"
    and not held[co]
  then
    return false, "cannot resume " .. status(co) .. " coroutine"
  end
  return ok, ...
end

local function bury(co, message)
  if dead.message ~= message then
    for i = #dead, 1, -1 do
      dead[i] = nil
    end
    dead.message = message
  end
  local n = #dead
  if n < MAX_DEAD then
    dead[n + 1] = co
  end
end

local function unwrapped(co, ok, ...)
  if ok then
    return ...
  end
  local message = ...
  bury(co, message)
  error(message, 0)
end

local function check_body(f, name)
  if type(f) ~= "function" then
    error("bad argument #1 to '" .. name .. "' (Lua function expected)", 3)
  end
end

_G.coroutine = {
  running = running,
  yield = yield,
  isyieldable = std.isyieldable,

  create = function(f)
    check_body(f, "create")
    return create(f)
  end,

  resume = function(co, ...)
    check(co, "resume")
    return explained(co, passed(co, try(co, ...)))
  end,

  status = function(co)
    check(co, "status")
    local s = status(co)
    local state = held[co]
    if state and (s == "suspended" or s == "dead" and state == "zombie") then
      return state
    end
    return s
  end,

  wrap = function(f)
    check_body(f, "wrap")
    local co = create(f)
    return function(...)
      return unwrapped(co, explained(co, passed(co, try(co, ...))))
    end
  end,
}

package.loaded.coroutine = _G.coroutine
