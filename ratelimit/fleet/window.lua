-- luacheck: read globals redis KEYS ARGV
-- Counts per window: a hash of the window's number n, its count c, and of the
-- count b of the window before.
--   ARGV: window (us), most, cost (below 0: given back), 1: sliding,
--         number of the window and ms to its end, both 0: by the clock,
--         2: grant all, 1: an unknown key has used its share of the time so far
-- Returns whether it is granted, c, b, and the time.
local t = redis.call("TIME")
local now = tonumber(t[1]) * 1000000 + tonumber(t[2])
local window, most = tonumber(ARGV[1]), tonumber(ARGV[2])
local cost, slides = tonumber(ARGV[3]), ARGV[4] == "1"
local n, left = tonumber(ARGV[5]), tonumber(ARGV[6])
local elapsed = now % window
if n == 0 then
  n = math.floor(now / window)
  left = math.ceil((window - elapsed) / 1000)
end
local known = redis.call("HMGET", KEYS[1], "n", "c", "b")
local at = tonumber(known[1] or "")
local c, b = 0, 0
if at == n then
  c, b = tonumber(known[2]), tonumber(known[3])
elseif at == n - 1 then
  b = tonumber(known[2])
elseif ARGV[8] == "1" then
  c, b = math.ceil(most * elapsed / window), most
end
local used = c
if slides then
  used = used + math.ceil(b * (window - elapsed) / window)
  left = left + math.ceil(window / 1000)
end
if cost > 0 and used + cost > most and ARGV[7] ~= "2" then
  return {0, c, b, tonumber(t[1]), tonumber(t[2])}
end
c = math.max(c + cost, 0)
redis.call("HSET", KEYS[1], "n", n, "c", c, "b", b)
redis.call("PEXPIRE", KEYS[1], math.max(left, 1))
return {1, c, b, tonumber(t[1]), tonumber(t[2])}
