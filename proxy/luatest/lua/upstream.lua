-- Stubs for upstreams: what they answer, and what they were asked.
--
--   local orders = perigee.upstream {
--     ["/orders/7"] = "seven",                         -- 200 and this body
--     ["POST /orders"] = {status = 201, headers = {Location = "/orders/8"}},
--     ["/slow/*"] = {delay = 5, body = "late"},        -- 5 s by the clock
--     ["/flaky"] = {perigee.upstream.close, "better"}, -- one after the other
--     ["*"] = function(request) return {status = 404} end,
--   }
--
-- The first that fits answers: method and path, path, then the longest prefix
-- with "*". orders.requests has what came, {method, path, query, headers, body,
-- ...}.

local error, ipairs, pairs, setmetatable, tostring, type = error, ipairs,
  pairs, setmetatable, tostring, type

local headers = require "perigee.spec.headers"

local upstream = {}
local stub = {}
local stubs = {}

stub.__index = stub

local function longest_prefix(answers, subject)
  local found, most = nil, -1
  for key in pairs(answers) do
    if key:sub(-1) == "*" and #key > most
      and subject:sub(1, #key - 1) == key:sub(1, -2)
    then
      found, most = key, #key
    end
  end
  return found
end

local function chosen(answers, request)
  local whole = request.method .. " " .. request.path
  return answers[whole] and whole or answers[request.path] and request.path
    or longest_prefix(answers, whole)
    or longest_prefix(answers, request.path)
end

-- An answer may be a text, {status, ...}, a function, or a list of these, of
-- which each request gets the next and the last stays.
local function is_list(answer)
  return type(answer) == "table" and answer[1] ~= nil
end

local function resolve(self, key, request)
  local answer = self.answers[key]
  if is_list(answer) then
    local at = self.turns[key] or 1
    self.turns[key] = at + 1
    answer = answer[at] or answer[#answer]
  end
  if type(answer) == "function" then
    answer = answer(request)
  end
  if type(answer) == "string" then
    answer = {body = answer}
  end
  if type(answer) ~= "table" then
    error("the answer to " .. request.method .. " " .. request.path
      .. " is a " .. type(answer) .. ": it must be a text or a table", 0)
  end
  return answer
end

-- A list of pieces as a chunked body.
local function chunked(pieces)
  local out = {}
  for _, piece in ipairs(pieces) do
    if piece ~= "" then
      out[#out + 1] = ("%x\r\n%s\r\n"):format(#piece, piece)
    end
  end
  return table.concat(out) .. "0\r\n\r\n"
end

local function wired(answer)
  if answer.raw then
    return {raw = answer.raw, close = true}
  end
  local list = headers.write(answer.headers)
  local body = answer.body or ""
  if answer.chunks then
    list[#list + 1] = {"Transfer-Encoding", "chunked"}
    body = chunked(answer.chunks)
  end
  return {
    status = answer.status or 200, headers = list, body = tostring(body),
    close = answer.close,
  }
end

-- The host's request for an answer.
function upstream.answer(asked)
  local self = stubs[asked.id]
  local request = asked.request
  request.headers = headers.read(request.headers)
  self.requests[#self.requests + 1] = request
  local key = chosen(self.answers, request)
  if not key then
    return {status = 404, headers = {}, body = "the stub has no answer for "
      .. request.method .. " " .. request.path .. "\n"}
  end
  local answer = resolve(self, key, request)
  if answer.delay then
    ngx.sleep(answer.delay)
  end
  if answer == upstream.close then
    return {status = 0}
  end
  return wired(answer)
end

function upstream.find(id)
  return stubs[id]
end

-- The newest request that came, or nil.
function stub.last(self)
  return self.requests[#self.requests]
end

-- Forgets requests, and begins lists of answers anew.
function stub.reset(self)
  self.requests, self.turns = {}, {}
end

-- What the host is told about the stub.
function stub.reference(self)
  return {
    id = self.id, refuse = self.refuse, speaks = self.speak ~= nil or nil,
  }
end

-- Answers that are none: the connection ends without a word.
upstream.close = {close = true}

-- An upstream that refuses connections.
upstream.refuse = setmetatable({id = 0, refuse = true, requests = {}}, stub)

function upstream.is_stub(v)
  return type(v) == "table" and getmetatable(v) == stub
end

return setmetatable(upstream, {
  __call = function(_, answers)
    if type(answers) == "string" or type(answers) == "function" then
      answers = {["*"] = answers}
    end
    for key in pairs(answers or {}) do
      if type(key) ~= "string" then
        error("an upstream's answers are named by path: [\"/path\"] = ...", 2)
      end
    end
    local self = setmetatable({
      id = #stubs + 1, answers = answers or {}, requests = {}, turns = {},
    }, stub)
    stubs[self.id] = self
    return self
  end,
})
