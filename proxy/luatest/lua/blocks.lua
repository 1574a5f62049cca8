-- The blocks of a spec file: what describe() makes. The file itself is the
-- outermost one.
--
--   file --- describe --- describe      setup     outer first, once
--    |          '--- it      '--- it    before    outer first, for each test
--    '--- it                            after     inner first, for each test
--                                       teardown  inner first, once
--
-- A block is entered by its first test and left after its last. Leaving takes
-- back what spies replaced and closes what the block opened.

local ipairs, pairs, pcall, setmetatable = ipairs, pairs, pcall, setmetatable
local rawset = rawset

local assert = require "luassert"

local blocks = {}
local block = {}

block.__index = block

function blocks.new(name, parent, insulated)
  return setmetatable({
    name = name, parent = parent, insulated = insulated,
    setup = {}, teardown = {}, before = {}, after = {},
    opened = {}, -- functions that close what was opened in this block
    left = 0,    -- tests of it that are still to come
  }, block)
end

-- The block and those around it, the outermost first.
function block.chain(self)
  local list = {}
  while self do
    table.insert(list, 1, self)
    self = self.parent
  end
  return list
end

-- The words of all names on the way to a test, as busted joins them.
function block.full_name(self, name)
  local words = {}
  for _, b in ipairs(self:chain()) do
    if b.name ~= "" then
      words[#words + 1] = b.name
    end
  end
  words[#words + 1] = name
  return table.concat(words, " ")
end

-- Copies of the tables that insulate() restores.
local function remember()
  local saved = {loaded = {}, globals = {}}
  for k, v in pairs(package.loaded) do
    saved.loaded[k] = v
  end
  for k, v in pairs(_G) do
    saved.globals[k] = v
  end
  return saved
end

local function restore(t, saved)
  for k in pairs(t) do
    if saved[k] == nil then
      t[k] = nil
    end
  end
  for k, v in pairs(saved) do
    rawset(t, k, v)
  end
end

-- run(f) calls f and returns nil, or what went wrong. A block whose setup
-- failed is broken, and so are all its tests.
function block.enter(self, run)
  if self.entered then
    return self.broken
  end
  self.entered = true
  self.saved = self.insulated and remember()
  self.snapshot = assert:snapshot()
  for _, f in ipairs(self.setup) do
    self.broken = run(f)
    if self.broken then
      self.broken.message = "setup: " .. self.broken.message
      return self.broken
    end
  end
  return nil
end

-- Closes what is in a list of functions, the newest first.
function blocks.close(list)
  for i = #list, 1, -1 do
    local f = list[i]
    list[i] = nil
    pcall(f)
  end
end

function block.leave(self, run)
  local failed
  for _, f in ipairs(self.teardown) do
    failed = failed or run(f)
  end
  self.snapshot:revert()
  blocks.close(self.opened)
  if self.saved then
    restore(package.loaded, self.saved.loaded)
    restore(_G, self.saved.globals)
  end
  if failed then
    failed.message = "teardown: " .. failed.message
  end
  return failed
end

return blocks
