-- luacheck: read globals redis KEYS ARGV
-- A token bucket, told as a theoretical arrival time (GCRA) in microseconds
-- since 2024, as text with three decimals. Redis's time is the clock.
--   ARGV: interval, tau, slack (us), cost (below 0: given back),
--         1: an unknown key starts empty,
--         1: grant what there is, 2: grant all, as a debt
-- Returns what is granted, how far the TAT lies ahead, and the time.
local t = redis.call("TIME")
local now = (tonumber(t[1]) - 1704067200) * 1000000 + tonumber(t[2])
local interval, tau = tonumber(ARGV[1]), tonumber(ARGV[2])
local most = tau + tonumber(ARGV[3])
local cost = tonumber(ARGV[4])
local tat = tonumber(redis.call("GET", KEYS[1]) or "")
local changed = false
if not tat then
  tat = now
  if ARGV[5] == "1" then
    tat, changed = now + most, true
  end
elseif tat < now then
  tat = now
elseif tat > now + 2 * most + 1000000 then
  -- Redis's clock was set back. Told to the key, or it would be empty at every
  -- request until the clock has caught up.
  tat, changed = now + most, true
end
local room = math.floor((now + most - tat) / interval + 1e-6)
local granted = cost
if cost > room and ARGV[6] ~= "2" then
  granted = 0
  if ARGV[6] == "1" and room > 0 then
    granted = room
  end
end
if granted ~= 0 then
  tat, changed = tat + granted * interval, true
end
if changed then
  local ttl = math.max(1, math.ceil((tat - now) / 1000))
  redis.call("SET", KEYS[1], string.format("%.3f", tat), "PX", ttl)
end
return {granted, math.ceil(tat - now), tonumber(t[1]), tonumber(t[2])}
