-- require "perigee.file" (path, ...): runs a Lua file as a stage's `file:` is
-- run, for paths that depend on the request. Read when first wanted and kept
-- by the VM; relative paths start at ngx.config.prefix(). Returns what the
-- file returns. A file that is missing is logged and answered 404; one that
-- does not compile is an error.

local P = ...

local error, loadstring = error, loadstring
local open = io.open
local find, gsub, sub = string.find, string.gsub, string.sub

local vm, ngx, log = P.vm, P.ngx, P.core.log
local ERR = 4

local kept = {}

local function compile(path)
  local name = path
  if sub(path, 1, 1) ~= "/" then
    path = ngx.config.prefix() .. path
  end
  local file, why = open(path, "rb")
  if not file then
    return nil, why
  end
  local text = file:read("*a")
  file:close()
  if not text then
    return nil, path .. ": cannot be read"
  end
  if find(text, "^\27") then
    error(name .. ": bytecode is refused: give Lua source", 0)
  end
  -- the body of a function, as vm.c makes of a stage's script
  text = "return function(...) " .. gsub(text, "^#[^\n]*", "") .. "\nend"
  local chunk, message = loadstring(text, "@" .. name)
  if not chunk then
    error(message, 0)
  end
  return chunk()
end

return function(path, ...)
  local run = kept[path]
  if run then
    return run(...)
  end
  local why
  run, why = compile(path)
  if not run then
    why = 'failed to load external Lua file "' .. path .. '": ' .. why
    log(vm, ERR, why, #why)
    return ngx.exit(404)
  end
  kept[path] = run
  return run(...)
end
