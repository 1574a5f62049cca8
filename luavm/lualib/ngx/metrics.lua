-- perigee.metrics: counters, gauges and histograms that stand in /metrics
-- beside the gateway's own.
--
--   local orders = perigee.metrics.counter("orders_total", "Orders taken.",
--     {"plan"})
--   orders:inc(1, {"gold"})
--
-- A metric belongs to the process: all VMs declare it, with the same labels,
-- and add to the same numbers, which outlive reloads. Label values that are
-- new once a metric has its limit of series (1000, or options.limit) are
-- counted in one series whose label values are "overflow".

local P = ...

local ffi = require "ffi"

local C = ffi.C
local error, type, tostring, tonumber = error, type, tostring, tonumber
local concat, find, gsub, sub = table.concat, string.find, string.gsub,
  string.sub
local huge = math.huge

local vm, api = P.vm, P.metrics
local c_add, c_set, c_observe, c_series = api.add, api.set, api.observe,
  api.series

local MOST, USUAL = 10000, 1000     -- series of a metric
local MOST_LABELS, LONGEST = 16, 128
local spilled = ffi.new("int32_t[1]")

-- Seconds, as Prometheus' own libraries have them.
local usual_bounds = {
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
}

local function check_name(name, what)
  if type(name) ~= "string" or not find(name, "^[%a_:][%w_:]*$")
      or #name > 200 then
    error(what .. " must be letters, digits and _, not "
      .. tostring(name), 4)
  end
  if find(name, "^perigee_") or find(name, "^go_")
      or find(name, "^process_") then
    error(what .. " " .. name .. " is the gateway's own: choose another "
      .. "prefix", 4)
  end
end

local function check_labels(labels)
  labels = labels or {}
  if type(labels) ~= "table" or #labels > MOST_LABELS then
    error("labels must be a table of at most " .. MOST_LABELS .. " names", 4)
  end
  local seen = {}
  for i = 1, #labels do
    local name = labels[i]
    if type(name) ~= "string" or not find(name, "^[%a_][%w_]*$")
        or find(name, "^__") or name == "le" or seen[name] then
      error("label " .. tostring(name) .. " is no name, le, or there twice", 4)
    end
    seen[name] = true
  end
  return concat(labels, "\0"), #labels
end

local function check_bounds(bounds)
  local n = #bounds
  if n == 0 or n > 64 then
    error("buckets must be 1 to 64 numbers", 4)
  end
  local own = ffi.new("double[?]", n)
  for i = 1, n do
    local b = tonumber(bounds[i])
    if not b or b ~= b or b == huge or i > 1 and b <= own[i - 2] then
      error("buckets must be numbers that grow", 4)
    end
    own[i - 1] = b
  end
  return own, n
end

local function text(s, value)
  s.p, s.n = value, #value
end

local function declare(kind, name, help, labels, options)
  check_name(name, "a metric's name")
  local names, count = check_labels(labels)
  options = options or {}
  local limit = tonumber(options.limit) or USUAL
  if limit < 1 or limit > MOST then
    error("limit must be 1 to " .. MOST, 3)
  end
  help = gsub(tostring(help or name), "[%c]", " ")
  local spec = ffi.new("pg_metric_spec")
  text(spec.name, name)
  text(spec.help, help)
  text(spec.labels, names)
  spec.kind, spec.label_count, spec.limit = kind, count, limit
  local bounds
  if kind == C.PG_METRIC_HISTOGRAM then
    bounds, spec.bound_count = check_bounds(options.buckets or usual_bounds)
    spec.bounds = bounds
  end
  local id = api.declare(vm, spec)
  if id == C.PG_METRIC_OTHER then
    error("metric " .. name .. " was declared with another kind, other labels "
      .. "or other buckets: give this one another name", 3)
  elseif id < 0 then
    error("metric " .. name .. ": there are 512 metrics, or no memory", 3)
  end
  return id, count
end

-- One label value as it is kept.
local function value_of(value)
  value = gsub(tostring(value), "%z", " ")
  if #value > LONGEST then
    value = sub(value, 1, LONGEST)
  end
  return value
end

-- finder returns a function from label values to the series, which this VM
-- keeps: only what is found for the first time asks C. Past the limit
-- nothing more is kept.
local function finder(id, count)
  local known = {}
  local parts = {}
  return function(values)
    local key = ""
    if count == 1 then
      key = value_of(type(values) == "table" and values[1] or values)
    elseif count > 1 then
      if type(values) ~= "table" then
        error("label values must be a table of " .. count, 3)
      end
      for i = 1, count do
        parts[i] = value_of(values[i])
      end
      key = concat(parts, "\0", 1, count)
    end
    local series = known[key]
    if series then
      return series
    end
    series = c_series(vm, id, key, #key, spilled)
    if series == nil then
      error("no memory for a metric's series", 3)
    end
    if spilled[0] == 0 then
      known[key] = series
    end
    return series
  end
end

local function number(n, usual)
  if n == nil then
    n = usual
  end
  local value = tonumber(n)
  if not value or value ~= value then
    error("a metric's value must be a number, not " .. tostring(n), 3)
  end
  return value
end

local function counter(name, help, labels, options)
  local find_series = finder(declare(C.PG_METRIC_COUNTER, name, help, labels,
    options))
  return {
    inc = function(_, n, values)
      n = number(n, 1)
      if n < 0 then
        error("a counter only grows: " .. n, 2)
      end
      c_add(find_series(values), n)
    end,
  }
end

local function gauge(name, help, labels, options)
  local find_series = finder(declare(C.PG_METRIC_GAUGE, name, help, labels,
    options))
  return {
    set = function(_, n, values)
      c_set(find_series(values), number(n))
    end,
    inc = function(_, n, values)
      c_add(find_series(values), number(n, 1))
    end,
    dec = function(_, n, values)
      c_add(find_series(values), -number(n, 1))
    end,
  }
end

local function histogram(name, help, labels, options)
  local find_series = finder(declare(C.PG_METRIC_HISTOGRAM, name, help, labels,
    options))
  return {
    observe = function(_, n, values)
      c_observe(find_series(values), number(n))
    end,
  }
end

P.perigee.metrics = {counter = counter, gauge = gauge, histogram = histogram}
