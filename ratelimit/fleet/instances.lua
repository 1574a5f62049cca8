-- luacheck: read globals redis KEYS ARGV
-- Says that an instance lives, or with ARGV[2] 0 that it goes; returns how many
-- have lived within the last ARGV[2] milliseconds.
local t = redis.call("TIME")
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local span = tonumber(ARGV[2])
if span == 0 then
  redis.call("ZREM", KEYS[1], ARGV[1])
  return 0
end
redis.call("ZADD", KEYS[1], now, ARGV[1])
redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", now - span)
redis.call("PEXPIRE", KEYS[1], 10 * span)
return redis.call("ZCARD", KEYS[1])
