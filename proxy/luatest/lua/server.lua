-- Stubs that speak another protocol than HTTP, for scripts' sockets:
--
--   local echo = perigee.server(function(conn)
--     while true do
--       local line = conn:receive()
--       if not line then return end
--       conn:send(line .. "\r\n")
--     end
--   end)
--   perigee.gateway{file = ..., upstreams = {["echo.internal:7"] = echo}}
--
-- The function is called for each connection; its return closes it.

local setmetatable, type = setmetatable, type

local host = require "perigee.spec.host"
local upstream = require "perigee.spec.upstream"

local server = {}
local conn = {}

conn.__index = conn

-- A line without its end, or so many bytes; nil, "closed" at the end.
function conn.receive(self, size)
  return host.try {verb = "receive", conn = self.id, size = size}
end

-- true, or nil and "closed".
function conn.send(self, bytes)
  return host.try {verb = "send", conn = self.id, bytes = bytes}
end

-- The host's request for somebody who speaks.
function server.speak(asked)
  local self = upstream.find(asked.id)
  self.speak(setmetatable({id = asked.conn}, conn))
  return nil
end

-- A stub that speaks by f.
function server.new(f)
  if type(f) ~= "function" then
    error("perigee.server needs a function of a connection", 2)
  end
  local self = upstream {}
  self.speak = f
  return self
end

-- Redis: perigee.redis{hget = function(self, key, field) ... end}. What is not
-- given is answered by a small store, which is the stub's field data. A value
-- becomes a bulk string, a number, a list; nil is nil; {ok = "OK"} and {err =
-- "ERR ..."} are statuses.

local store = {}

function store.ping(_, text)
  return text or {ok = "PONG"}
end

function store.select()
  return {ok = "OK"}
end

store.auth = store.select

function store.get(self, key)
  return self.data[key]
end

function store.set(self, key, value)
  self.data[key] = value
  return {ok = "OK"}
end

function store.exists(self, key)
  return self.data[key] and 1 or 0
end

function store.del(self, ...)
  local n = 0
  for _, key in ipairs {...} do
    n = n + store.exists(self, key)
    self.data[key] = nil
  end
  return n
end

function store.incr(self, key)
  local n = tonumber(self.data[key] or "0")
  if not n then
    return {err = "ERR value is not an integer or out of range"}
  end
  self.data[key] = tostring(n + 1)
  return n + 1
end

local function reply(v)
  if v == nil or v == ngx.null then
    return "$-1\r\n"
  elseif type(v) == "number" then
    return ":" .. v .. "\r\n"
  elseif type(v) ~= "table" then
    v = tostring(v)
    return "$" .. #v .. "\r\n" .. v .. "\r\n"
  elseif v.ok or v.err then
    return (v.ok and "+" or "-") .. (v.ok or v.err) .. "\r\n"
  end
  local out = {"*" .. #v .. "\r\n"}
  for i = 1, #v do
    out[i + 1] = reply(v[i])
  end
  return table.concat(out)
end

-- A command's words; nil at the end of the connection.
local function command(c)
  local n = tonumber((c:receive() or ""):match("^%*(%d+)$"))
  local words = {}
  for i = 1, n or 0 do
    local size = tonumber((c:receive() or ""):match("^%$(%d+)$"))
    local word = size and c:receive(size + 2)
    if not word then
      return nil
    end
    words[i] = word:sub(1, -3)
  end
  return n and words
end

local function run(self, commands, words)
  local name = words[1]:lower()
  local f = commands[name] or store[name]
  self.requests[#self.requests + 1] = words
  if not f then
    return reply {err = "ERR unknown command '" .. words[1] .. "'"}
  end
  return reply(f(self, unpack(words, 2)))
end

function server.redis(commands)
  local self
  self = server.new(function(c)
    local words = command(c)
    while words and words[1] do
      c:send(run(self, commands or {}, words))
      words = command(c)
    end
  end)
  self.data = {}
  return self
end

return server
