-- ngx.balancer, as lua-resty-core has it: which endpoint the next attempt at
-- an upstream goes to. What is set here goes into the edit log.

local P = ...

local ffi = require "ffi"
local C = ffi.C
local error, type, tonumber, tostring = error, type, tonumber, tostring
local find, format = string.find, string.format

local vm, edit = P.vm, P.core.edit
local type_name = P.type_name
local BALANCER = C.PG_PHASE_BALANCER

local NO_MEMORY = "no memory"
local MANY = 1e6

local balancer = {version = P.resty_core_version}

package.loaded["ngx.balancer"] = balancer

-- The slot, where its phase is the balancer's; else nil and why not.
local function slot_of_balancer()
  local s = vm.slot
  if s == nil or s.phase == C.PG_PHASE_INIT then
    error("no request found", 3)
  end
  if s.phase ~= BALANCER then
    return nil, "API disabled in the current context"
  end
  return s
end

local function put(kind, aux, name, value)
  if edit(vm.slot, kind, aux, name, #name, value, #value) ~= 0 then
    return nil, NO_MEMORY
  end
  return true
end

-- An address is asked of nobody here: names would have to be waited for.
local function is_address(text)
  return find(text, "^%d+%.%d+%.%d+%.%d+$") or find(text, "^%[?[%x:.]+%]?$")
end

function balancer.set_current_peer(address, port, host)
  local s, why = slot_of_balancer()
  if type(address) ~= "string" then
    error("bad argument #1 to 'set_current_peer' (string expected, got "
      .. type_name(address) .. ")", 2)
  end
  if host ~= nil and type(host) ~= "string" then
    error("bad argument #3 to 'set_current_peer' (string expected, got "
      .. type(host) .. ")", 2)
  end
  if not s then
    return nil, why
  end
  port = tonumber(port) or 0
  local before, behind = address:match("^(.-):(%d+)$")
  if port == 0 and before and not find(before, ":", 1, true) then
    address, port = before, tonumber(behind)
  end
  if not is_address(address) then
    return nil, "no host allowed"
  end
  if port < 1 or port > 65535 or port % 1 ~= 0 then
    return nil, port == 0 and "no port in upstream" or "invalid port"
  end
  return put(C.PG_EDIT_PEER, port, host or "", address)
end

function balancer.set_more_tries(count)
  local s, why = slot_of_balancer()
  if not s then
    return nil, why
  end
  local n = tonumber(count)
  if not n or n < 0 or n ~= n then
    error("bad argument #1 to 'set_more_tries' (number expected, got "
      .. type_name(count) .. ")", 2)
  end
  n = n > MANY and MANY or n - n % 1
  local left = s.peer_most - s.peer_tries
  local warning
  if n > left then
    n, warning = left > 0 and left or 0, "reduced tries due to limit"
  end
  local ok, err = put(C.PG_EDIT_PEER_TRIES, n, "", "")
  if not ok then
    return nil, err
  end
  return true, warning
end

function balancer.get_last_failure()
  local s, why = slot_of_balancer()
  if not s then
    return nil, nil, why
  end
  local status = s.peer_status
  if status == 0 then
    return nil
  end
  -- an endpoint that refuses its client is not a failed one
  return (status == 403 or status == 404) and "next" or "failed", status
end

local function seconds(n, what)
  if not n then
    return 0
  end
  if type(n) ~= "number" or n ~= n or n <= 0 then
    error("bad " .. what .. " timeout", 3)
  end
  return n
end

function balancer.set_timeouts(connect, send, read)
  local s, why = slot_of_balancer()
  local text = format("%.3f %.3f %.3f", seconds(connect, "connect"),
    seconds(send, "send"), seconds(read, "read"))
  if not s then
    return false, why
  end
  return put(C.PG_EDIT_PEER_TIMEOUTS, 0, "", text)
end

local function not_negative(n, i, default)
  if not n then
    return default
  end
  if type(n) ~= "number" then
    error("bad argument #" .. i .. " to 'enable_keepalive' (number expected, "
      .. "got " .. type(n) .. ")", 3)
  end
  if n < 0 then
    error("bad argument #" .. i .. " to 'enable_keepalive' (expected >= 0)", 3)
  end
  return n
end

function balancer.enable_keepalive(idle, requests)
  local s, why = slot_of_balancer()
  idle = not_negative(idle, 1, 60)
  requests = not_negative(requests, 2, 100)
  if not s then
    return nil, why
  end
  return put(C.PG_EDIT_PEER_KEEPALIVE, 0, "",
    format("%.3f %d", idle, requests > MANY and MANY or requests))
end

-- Each attempt's request is made anew from what scripts have set so far.
function balancer.recreate_request()
  local s, why = slot_of_balancer()
  if not s then
    return nil, why
  end
  return true
end

function balancer.set_upstream_tls()
  local s, why = slot_of_balancer()
  if not s then
    return nil, why
  end
  return nil, "TLS of an upstream is decided by its configuration"
end

function balancer.bind_to_local_addr(address)
  if type(address) ~= "string" then
    error("bad argument #1 to 'bind_to_local_addr' (string expected, got "
      .. type_name(address) .. ")", 2)
  end
  local s, why = slot_of_balancer()
  if not s then
    return nil, why
  end
  return nil, "connections are made from the address that the kernel chooses: "
    .. tostring(address)
end
