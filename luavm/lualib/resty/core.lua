-- resty.core: in OpenResty it replaces the ngx API by FFI versions. Here the
-- API is over FFI from the start, so most of its modules have nothing left to
-- do: they return their version. Those that return functions have files of
-- their own beside this one.

local P = ...

local preload = package.preload
local version = P.resty_core_version

local done = {"base64", "coroutine", "exit", "hash", "ndk", "phase", "shdict",
  "socket", "uri", "var", "param"}

local function loader()
  return {version = version}
end

for i = 1, #done do
  preload["resty.core." .. done[i]] = loader
end

preload["resty.core.worker"] = function()
  return {_VERSION = version}
end

return {version = version}
