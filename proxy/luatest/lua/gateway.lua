-- Gateways: perigee.gateway{file = ..., upstreams = {...}} serves a
-- configuration; gw:get("/path") sends it a request and returns the answer.

local error, pairs, setmetatable, type = error, pairs, setmetatable, type

local headers = require "perigee.spec.headers"
local host = require "perigee.spec.host"
local message = require "perigee.spec.message"
local upstream = require "perigee.spec.upstream"

local gateway = {}

gateway.__index = gateway

local answer = {}

answer.__index = answer

-- The body as what its JSON says.
function answer.json(self)
  return require "cjson".decode(self.body)
end

local function where(options)
  return {config = options.config, file = options.file}
end

-- Sends what options say: method, path, query, headers, body, host, version,
-- from (the client's address), listener, timeout (real seconds).
function gateway.request(self, options)
  local request = message.request(options)
  local got, err = host.try {
    verb = "request", gateway = self.id, method = request.method,
    bytes = request.bytes, host = request.host, from = options.from,
    listener = options.listener, timeout = options.timeout,
  }
  if err then
    error(request.method .. " " .. request.target .. ": " .. err, 2)
  end
  got.headers = headers.read(got.headers)
  got.trailers = headers.read(got.trailers)
  return setmetatable(got, answer)
end

local function with(options, more)
  local all = {}
  for k, v in pairs(options or {}) do
    all[k] = v
  end
  for k, v in pairs(more) do
    all[k] = v
  end
  return all
end

for _, method in ipairs {"GET", "HEAD", "DELETE", "OPTIONS"} do
  gateway[method:lower()] = function(self, path, options)
    return self:request(with(options, {method = method, path = path}))
  end
end

for _, method in ipairs {"POST", "PUT", "PATCH"} do
  gateway[method:lower()] = function(self, path, body, options)
    if type(body) == "table" and options == nil
      and (body.headers or body.body or body.query)
    then
      body, options = body.body, body
    end
    return self:request(with(options,
      {method = method, path = path, body = body}))
  end
end

-- Sends bytes as they are and returns all that comes, until the gateway closes
-- or is silent for options.quiet seconds (0.2).
function gateway.raw(self, bytes, options)
  return host.ask(with(options,
    {verb = "raw", gateway = self.id, bytes = bytes}))
end

-- Everything that the gateway has logged.
function gateway.log(self)
  return host.ask {verb = "log", gateway = self.id}
end

-- Applies another configuration, as a reload does.
function gateway.reload(self, options)
  host.ask(with(where(options), {verb = "reload", gateway = self.id}))
end

-- Ends the gateway; a test's or block's end does it too.
function gateway.close(self)
  host.ask {verb = "close", gateway = self.id}
end

local function references(upstreams)
  local list = {}
  for name, stub in pairs(upstreams or {}) do
    if not upstream.is_stub(stub) then
      stub = upstream(stub)
    end
    list[name] = stub:reference()
  end
  return list
end

-- options: config (a text) or file (relative to the spec), upstreams (stubs, or
-- what perigee.upstream takes, by name or host:port), clock = "real", network =
-- true (endpoints without a stub are connected to).
return function(options)
  options = options or {}
  local id = host.ask(with(where(options), {
    verb = "gateway", upstreams = references(options.upstreams),
    clock = options.clock, network = options.network,
  }))
  local self = setmetatable({id = id}, gateway)
  require "perigee.spec.spec".on_close(function() self:close() end)
  return self
end
