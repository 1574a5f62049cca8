-- What scripts may reach that are not trusted.
--
--   strict VM        S: globals that all its scripts share, frozen
--                    E: each script's own, falls back to S
--   open, modules    E: require is bounded; all else is _G's
--
-- A script that is not trusted gets nothing by which it could reach memory
-- (ffi, string.buffer's pointers, bytecode), files and processes (io, os,
-- package, ngx.pipe), other scripts' environments (getfenv, debug, metatables
-- of the API) or change what others use: tables of the API are seen through
-- proxies that cannot be written to.

local P = ...

local error, type, pairs, next = error, type, pairs, next
local setmetatable, getmetatable, rawset = setmetatable, getmetatable, rawset
local load, loadfile, require, tostring = load, loadfile, require, tostring
local collectgarbage, select = collectgarbage, select
local package, string, G = package, string, _G
local gmatch, sub = string.gmatch, string.sub

local ngx, setters = P.ngx, P.setters

-- Modules that hold nothing dangerous. Others are found on lua.path and run in
-- S themselves.
local SAFE = {
  "bit", "cjson", "cjson.safe", "table.new", "table.clear", "table.nkeys",
  "table.isarray", "table.isempty", "table.clone", "ngx.re", "ngx.base64",
  "ngx.semaphore", "ngx.balancer", "ngx.resp", "ngx.req", "ngx.errlog",
  "ngx.ssl", "ngx.ssl.clienthello", "resty.core",
}
-- Names that are the VM's and are not to be had, whatever is on lua.path.
local DENIED = {
  "ffi", "io", "os", "debug", "package", "jit", "jit.*", "string.buffer",
  "resty.core.*", "ngx.pipe", "ngx.process", "ngx.*", "perigee.*", "thread.*",
}

local protected = setmetatable({}, {__mode = "k"})

local function refuse(_, key)
  error("attempt to change " .. tostring(key) .. " of a protected table", 2)
end

local protect

-- A read-only view of a plain table and of the tables in it.
local function frozen(t, seen)
  local copy = {}
  local view = setmetatable({}, {
    __index = copy, __newindex = refuse, __metatable = false,
  })
  seen[t] = view
  protected[view] = true
  for k, v in pairs(t) do
    copy[k] = protect(v, seen)
  end
  return view
end

local function without(from, ...)
  local t = {}
  for k, v in pairs(from) do
    t[k] = v
  end
  for i = 1, select("#", ...) do
    t[select(i, ...)] = nil
  end
  return t
end

-- What a script gets in v's place. Objects keep their identity, because their
-- methods need it, but their metatable is hidden and closed.
function protect(v, seen)
  if type(v) ~= "table" then
    return v
  end
  if seen[v] then
    return seen[v]
  end
  local mt = getmetatable(v)
  if not mt then
    return frozen(v, seen)
  end
  seen[v] = v
  protected[v] = true
  if mt.__metatable == nil then
    mt.__metatable = false
  end
  local methods = mt.__index
  if type(methods) == "table" and methods.__index then
    -- else it could be reached, and written to, as a field of its objects
    mt.__index = without(methods, "__index")
  end
  if not mt.__newindex then
    mt.__newindex = refuse
  end
  return v
end

local function set_of(list)
  local set = {}
  for i = 1, #list do
    set[list[i]] = true
  end
  return set
end

local safe, denied = set_of(SAFE), set_of(DENIED)

local function is_denied(name)
  if denied[name] then
    return true
  end
  for at = 1, #name do
    if sub(name, at, at) == "." and denied[sub(name, 1, at) .. "*"] then
      return true
    end
  end
  return false
end

-- ---- the strict environment ----

local function pick(from, names)
  local t = {}
  for name in gmatch(names, "%S+") do
    t[name] = from[name]
  end
  return t
end

local function counted(what)
  if what ~= nil and what ~= "count" then
    error("collectgarbage is bounded to \"count\" here", 2)
  end
  return collectgarbage("count")
end

local function checked_rawset(t, k, v)
  if protected[t] then
    error("attempt to change a protected table", 2)
  end
  return rawset(t, k, v)
end

local function checked_getmetatable(v)
  if type(v) ~= "table" then
    return nil
  end
  return getmetatable(v)
end

-- Library functions that write to their first argument past its metatable.
local function guarded(f)
  return function(t, ...)
    if protected[t] then
      error("attempt to change a protected table", 2)
    end
    return f(t, ...)
  end
end

local function table_view(seen)
  local t = without(G.table)
  for name in gmatch("insert remove sort move", "%a+") do
    t[name] = t[name] and guarded(t[name])
  end
  return frozen(t, seen)
end

-- Objects of the API that hold pointers (sockets, semaphores, TLS sessions)
-- are shells here: what is inside is known to this file alone.
local inside = setmetatable({}, {__mode = "k"})
local forwards = {}
local shell_mt = {__metatable = false, __newindex = refuse}
local enclose

local function forward(name)
  return function(shell, ...)
    local object = inside[shell]
    if not object then
      error("calling '" .. name .. "' on bad self", 2)
    end
    local first = ...
    if inside[first] then                -- a session that is shown again
      return enclose(object[name](object, inside[first], select(2, ...)))
    end
    return enclose(object[name](object, ...))
  end
end

function shell_mt.__index(shell, name)
  if type(inside[shell][name]) ~= "function" then
    return nil
  end
  local f = forwards[name]
  if not f then
    f = forward(name)
    forwards[name] = f
  end
  return f
end

-- The results of a call, the first in a shell when it is an object.
function enclose(first, ...)
  local kind = type(first)
  if kind ~= "cdata" and not (kind == "table" and getmetatable(first)) then
    return first, ...
  end
  local shell = setmetatable({}, shell_mt)
  inside[shell] = first
  return shell, ...
end

local function enclosing(make)
  return function(...)
    return enclose(make(...))
  end
end

local function each_enclosing(t)
  local copy = {}
  for k, v in pairs(t) do
    copy[k] = type(v) == "function" and enclosing(v) or v
  end
  return copy
end

local function ngx_view(seen)
  local copy = {}
  for k, v in pairs(ngx) do
    if k ~= "run_worker_thread" then
      copy[k] = protect(v, seen)
    end
  end
  copy.socket = frozen(each_enclosing(ngx.socket), seen)
  local req = without(ngx.req)
  req.socket = enclosing(req.socket)
  copy.req = frozen(req, seen)
  local view = setmetatable({}, {
    __index = function(_, key)
      local v = copy[key]
      if v ~= nil or key == "run_worker_thread" then
        return v
      end
      return ngx[key]
    end,
    __newindex = function(_, key, value)
      if not setters[key] then
        error("attempt to change ngx." .. tostring(key), 2)
      end
      ngx[key] = value
    end,
    __metatable = false,
  })
  protected[view] = true
  return view
end

local S
local loaded = {} -- modules of the sandbox, by name

local function build()
  -- scripts reach string's functions as methods of strings, too
  string.dump = nil
  local seen = {}
  S = pick(G, [[assert error ipairs next pairs pcall xpcall select tonumber
    tostring type unpack rawequal rawget setmetatable print _VERSION]])
  S.rawset, S.getmetatable = checked_rawset, checked_getmetatable
  S.collectgarbage = counted
  S.coroutine = frozen(G.coroutine, seen)
  S.string = frozen(without(string, "dump"), seen)
  S.table = table_view(seen)
  S.math = frozen(without(G.math), seen)
  S.bit = frozen(require "bit", seen)
  S.os = frozen(pick(G.os, "time date clock difftime"), seen)
  S.ngx = ngx_view(seen)
  S.ndk = G.ndk and protect(G.ndk, seen)
  S.perigee = frozen(G.perigee, seen)
  for name in next, safe do
    local module = package.loaded[name] or package.preload[name]
      and require(name)
    if name == "ngx.semaphore" and module then
      module = each_enclosing(module)
    end
    loaded[name] = module and protect(module, seen)
  end
  loaded.ngx = S.ngx
  loaded["table.clear"] = guarded(require "table.clear")
end

local function find_module(name, env)
  local path, tried = package.searchpath(name, package.path)
  if not path then
    error("module '" .. name .. "' not found:" .. tried, 3)
  end
  local chunk, why = loadfile(path, "t", env)
  if not chunk then
    error("error loading module '" .. name .. "': " .. why, 3)
  end
  loaded[name] = true -- against circles
  local module = chunk(name)
  if module ~= nil then
    loaded[name] = module
  end
  return loaded[name]
end

local S_env -- the environment of modules: S with its own require and load

local function strict_require(name)
  if type(name) ~= "string" then
    error("bad argument #1 to 'require' (string expected, got "
      .. P.type_name(name) .. ")", 3)
  end
  local module = loaded[name]
  if module ~= nil then
    return module
  end
  if is_denied(name) then
    error("module '" .. name .. "' is not to be had: lua.sandbox is strict", 3)
  end
  return find_module(name, S_env)
end

-- Text in the environment that asks.
local function loader(env)
  return function(chunk, name, _, own)
    if type(chunk) ~= "string" and type(chunk) ~= "function" then
      error("bad argument #1 to 'load' (function expected, got "
        .. P.type_name(chunk) .. ")", 2)
    end
    return load(chunk, name, "t", own or env)
  end
end

local function strict_environment(check)
  local env = setmetatable({}, {__index = S, __metatable = false})
  env._G = env
  env.load = loader(env)
  env.loadstring = function(text, name)
    return env.load(text, name)
  end
  env.require = function(name)
    check(name)
    return strict_require(name)
  end
  return env
end

local function open_environment(check)
  return setmetatable({
    require = function(name)
      check(name)
      return require(name)
    end,
  }, {__index = G, __newindex = G})
end

local function anything() end

-- policy: "strict" or "open", then the modules that may be required, each on
-- a line of its own; none means any.
function P.environment(policy)
  local list
  local kind = policy:match("^%a+")
  for name in gmatch(policy, "\n([^\n]+)") do
    list = list or {}
    list[name] = true
  end
  local check = list and function(name)
    if not list[name] then
      error("module '" .. tostring(name) .. "' is not among lua.modules of "
        .. "this route", 3)
    end
  end or anything
  if kind == "open" then
    return open_environment(check)
  end
  if not S then
    build()
    S_env = strict_environment(anything)
  end
  return strict_environment(check)
end
