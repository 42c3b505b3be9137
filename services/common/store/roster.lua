-- Who is a member at the moment. Each is one for a while, and stays so by saying it again.
--
-- KEYS: a sorted set, by the time at which a membership ends. ARGV: a member or '', for how many ms it is one
-- from now on (0 ends it), and how many to return.

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now_ms))
if ARGV[2] == '0' then
  redis.call('ZREM', KEYS[1], ARGV[1])
elseif ARGV[1] ~= '' then
  redis.call('ZADD', KEYS[1], string.format('%.0f', now_ms + ARGV[2]), ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return redis.call('ZRANGE', KEYS[1], 0, ARGV[3] - 1)
