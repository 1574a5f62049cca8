-- perigee.exchange(request, f): calls f as a phase of a request would, with the
-- real ngx, and returns what became of request and response.
--
--   local seen = perigee.exchange({
--     phase = "access", headers = {["X-Api-Key"] = "demo-key"},
--   }, function() return require "orders".check() end)
--   assert.are.equal("alice", seen.request.headers["X-Consumer"])
--
-- The host runs f in a seat of its own beside the test's (enter), then lets a
-- log phase write down what is there (observe).

local error, pairs, setmetatable, tonumber, type, xpcall = error, pairs,
  setmetatable, tonumber, type, xpcall

local headers = require "perigee.spec.headers"
local host = require "perigee.spec.host"
local message = require "perigee.spec.message"

local exchange = {}
local under_way = {}
local serial = 0

local function record()
  return under_way[tonumber(ngx.var.perigee_spec)]
end

local function keep(r, ok, ...)
  if not ok then
    r.problem = (...)
    return
  end
  r.returned = {n = select("#", ...), ...}
end

-- The handler of the phase.
function exchange.enter()
  local r = record()
  keep(r, xpcall(r.call, require "perigee.spec.spec".explain))
end

local function list_of(t)
  return headers.read(headers.write(t))
end

-- The handler of the log phase behind it.
function exchange.observe()
  local r = record()
  local var = ngx.var
  r.seen = {
    request = {
      method = ngx.req.get_method(), path = var.uri, query = var.args or "",
      headers = list_of(ngx.req.get_headers(0, true)),
      body = var.request_body,
    },
    headers = list_of(ngx.resp.get_headers(0, true)),
    status = ngx.status, ctx = ngx.ctx, variables = {},
  }
  for name in pairs(r.variables) do
    r.seen.variables[name] = var[name]
  end
end

local function response_of(given)
  if not given then
    return nil
  end
  local list = headers.write(given.headers)
  local status = given.status or 200
  return {
    status = status, body = given.body or "",
    head = ("HTTP/1.1 %d OK\r\n"):format(status) .. headers.text(list)
      .. "\r\n",
  }
end

local function run(given, call)
  serial = serial + 1
  local id = serial
  local r = {call = call, variables = given.variables or {}}
  under_way[id] = r
  local command = message.request(given)
  command.verb, command.id, command.bytes = "exchange", id, nil
  command.phase = given.phase or "access"
  command.from, command.tls = given.from, given.tls
  command.variables = r.variables
  command.response = response_of(given.response)
  local reply, err = host.try(command)
  under_way[id] = nil
  if err then
    error(err, 3)
  elseif r.problem then
    error(r.problem, 0)
  end
  local seen = r.seen
  seen.exit, seen.body = reply.exit, reply.output
  seen.returned = r.returned
  return seen
end

-- given: phase ("access"), method, path, query, headers, body, host, from, tls,
-- variables, response = {status, headers, body}. The result: request = {method,
-- path, query, headers, body}, status, headers and body of the response, exit
-- (ngx.exit's argument), returned, ctx, variables.
return setmetatable(exchange, {
  __call = function(_, given, call)
    if type(given) == "function" then
      given, call = {}, given
    end
    if type(call) ~= "function" then
      error("perigee.exchange needs a request and a function", 2)
    end
    return run(given, call)
  end,
})
