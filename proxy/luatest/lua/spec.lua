-- Specs: describe, it and their kin, and how one test runs.
--
-- The host loads a file (collect), says which of its tests it wants (select),
-- and has each of them run in two steps, so that what a test leaves behind is
-- tidied up even when its body was ended by force:
--
--   run     setup of blocks that begin here, before_each, the body
--   after   finally, after_each, teardown of blocks that end here
--
-- Each step gives nil or what went wrong: {status, message, file, line, trace}.

local error, ipairs, loadstring, pairs, setfenv, setmetatable, tostring, type,
  xpcall = error, ipairs, loadstring, pairs, setfenv, setmetatable, tostring,
  type, xpcall
local getmetatable = getmetatable
local getinfo, traceback = debug.getinfo, debug.traceback
local concat = table.concat

local assert = require "luassert"
local blocks = require "perigee.spec.blocks"

local spec = {}

local source            -- chunk name of the spec file, "@path"
local current           -- the block that is being filled; nil afterwards
local tests = {}        -- in the order of the file
local failed_blocks = {}
local running           -- the test whose step runs
local opened            -- where close functions go now

local pending_mt = {}

-- A traceback without the frames of the runner.
local function trimmed(level)
  local kept = {}
  for line in traceback("", level + 1):gmatch("[^\n]+") do
    if not line:find("perigee/spec/", 1, true)
      and not line:find("luassert/", 1, true)
      and not line:find("[C]: in function 'xpcall'", 1, true)
    then
      kept[#kept + 1] = line
    end
  end
  return concat(kept, "\n")
end

-- The line of the spec that led to an error, and how Lua's messages begin that
-- come from there.
local function spec_line(level)
  for i = level + 1, level + 200 do
    local info = getinfo(i, "Sl")
    if not info then
      return nil, ""
    elseif info.source == source then
      return info.currentline, info.short_src .. ":" .. info.currentline
        .. ": "
    end
  end
  return nil, ""
end

local function text(err)
  if err == nil then
    return "nil"
  end
  return tostring(err)
end

-- xpcall's handler: what an error looks like to the host.
local explained = {}

local function explain(err)
  if type(err) == "table" and getmetatable(err) == explained then
    return err -- by another handler, nearer to where it happened
  elseif type(err) == "table" and getmetatable(err) == pending_mt then
    return {status = "pending", message = err.message}
  end
  local failed = assert.is_failure(err)
  local message = failed and err.message or text(err)
  local line, prefix = spec_line(2)
  if message:sub(1, #prefix) == prefix then
    message = message:sub(#prefix + 1)
  end
  return {
    status = failed and "failed" or "error", message = message,
    file = source:sub(2), line = line, trace = trimmed(2),
  }
end

-- As xpcall's handler where the error is raised again: it stays explained, and
-- as text it is its message.
function spec.explain(err)
  local e = explain(err)
  if e.status == "pending" then
    return err
  end
  return setmetatable(e, explained)
end

function explained.__tostring(self)
  return self.message
end

local function run(f, ...)
  local ok, result = xpcall(f, explain, ...)
  if not ok then
    return result
  end
  return nil
end

-- Has f called when the test or block that is under way has ended.
function spec.on_close(f)
  opened[#opened + 1] = f
end

-- The folder of the spec, with its "/".
function spec.folder()
  return source:match("^@(.*/)[^/]*$") or "./"
end

-- words of specs

local env

local function building(word)
  if not current then
    error("'" .. word .. "' must stand in describe or the file, not in a test",
      0)
  end
  return current
end

local function line_of(level)
  local info = getinfo(level + 1, "l")
  return info and info.currentline
end

local function describe(name, f, insulated)
  local parent = building("describe")
  if type(f) ~= "function" then
    error("describe needs a name and a function", 0)
  end
  current = blocks.new(tostring(name), parent, insulated)
  opened = current.opened
  local problem = run(f)
  if problem then
    problem.name = current:full_name("")
    failed_blocks[#failed_blocks + 1] = problem
  end
  current, opened = parent, parent.opened
end

local function add_test(name, f, pending)
  tests[#tests + 1] = {
    block = building("it"), name = tostring(name), line = line_of(3),
    body = f, pending = pending,
  }
end

local function hook(list, word)
  return function(f)
    local b = building(word)
    if type(f) ~= "function" then
      error(word .. " needs a function", 0)
    end
    b[list][#b[list] + 1] = f
  end
end

local words = {
  describe = function(name, f) describe(name, f) end,
  insulate = function(name, f)
    if type(name) == "function" then
      name, f = "", name
    end
    describe(name, f, true)
  end,
  it = function(name, f)
    add_test(name, f, f == nil and "has no body")
  end,
  -- Beside tests: one that is not run. In a test: gives it up.
  pending = function(name, f)
    if running then
      error(setmetatable({message = tostring(name or "")}, pending_mt), 0)
    end
    add_test(name, f, "pending")
  end,
  finally = function(f)
    if not running then
      error("'finally' must stand in a test", 0)
    end
    running.finally = f
  end,
  before_each = hook("before", "before_each"),
  after_each = hook("after", "after_each"),
  setup = hook("setup", "setup"),
  teardown = hook("teardown", "teardown"),
  -- print goes to the terminal at once, not to the log.
  print = function(...)
    local out = {}
    for i = 1, select("#", ...) do
      out[i] = tostring((select(i, ...)))
    end
    io.stderr:write(concat(out, "\t"), "\n")
  end,
}

for name, same_as in pairs {
  context = "describe", expose = "describe", spec = "it", test = "it",
  lazy_setup = "setup", strict_setup = "setup",
  lazy_teardown = "teardown", strict_teardown = "teardown",
} do
  words[name] = words[same_as]
end

words.assert = assert
words.spy = require "luassert.spy"
words.stub = require "luassert.stub"
words.mock = require "luassert.mock"
words.match = require "luassert.match"
words.perigee = require "perigee.spec.words"

spec.words = words

-- steps

-- Loads a spec file. Its globals are its own: modules that it requires see
-- Lua's assert, and none of these words.
function spec.collect(path, code)
  source = "@" .. path
  current = blocks.new("")
  opened = current.opened
  local chunk, syntax = loadstring(code, source)
  if not chunk then
    return {errors = {{
      status = "error", name = "", message = syntax, file = path,
      line = tonumber(syntax:match(":(%d+):")),
    }}}
  end
  env = setmetatable({}, {__index = function(_, key)
    local word = words[key]
    if word ~= nil then
      return word
    end
    return _G[key]
  end})
  setfenv(chunk, env)
  local problem = run(chunk)
  if problem then
    problem.name = ""
    failed_blocks[#failed_blocks + 1] = problem
  end
  current = nil
  local list = {}
  for i, test in ipairs(tests) do
    list[i] = {
      name = test.block:full_name(test.name), line = test.line,
      pending = test.pending or nil,
    }
  end
  return {tests = list, errors = failed_blocks}
end

-- The tests that will run; blocks end with their last.
function spec.select(indices)
  for _, i in ipairs(indices) do
    for _, b in ipairs(tests[i].block:chain()) do
      b.left = b.left + 1
    end
  end
end

-- Enters the blocks around a test and calls their before_each.
local function prepare(test)
  local chain = test.block:chain()
  for _, b in ipairs(chain) do
    opened = b.opened
    local broken = b:enter(run)
    if broken then
      return broken
    end
  end
  test.opened, test.snapshot = {}, assert:snapshot()
  opened = test.opened
  for _, b in ipairs(chain) do
    for _, f in ipairs(b.before) do
      local failed = run(f)
      if failed then
        failed.message = "before_each: " .. failed.message
        return failed
      end
    end
  end
  return nil
end

function spec.run(i)
  local test = tests[i]
  running = test
  local failed = prepare(test)
  if not failed then
    failed = run(test.body)
  end
  running = nil
  return failed
end

-- after_each of all blocks, inner first; the first failure counts.
local function tidy(test)
  local failed = test.finally and run(test.finally)
  local chain = test.block:chain()
  for at = #chain, 1, -1 do
    for _, f in ipairs(chain[at].after) do
      local one = run(f)
      if one and not failed then
        one.message = "after_each: " .. one.message
        failed = one
      end
    end
  end
  test.snapshot:revert()
  blocks.close(test.opened)
  return failed
end

function spec.after(i)
  local test = tests[i]
  running = nil
  local failed = test.snapshot and tidy(test)
  local chain = test.block:chain()
  for at = #chain, 1, -1 do
    local b = chain[at]
    b.left = b.left - 1
    opened = b.opened
    if b.left == 0 and b.entered then
      failed = failed or b:leave(run)
    end
  end
  return failed
end

return spec
