-- Removes an entry of an owner; 1 when it was there.
--
-- KEYS: the entry, the index of its owner's entries by age, and their sizes.

local was_there = redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], KEYS[1])
local size = tonumber(redis.call('HGET', KEYS[3], KEYS[1]) or 0)
if size > 0 then
  redis.call('HINCRBY', KEYS[3], 'total', string.format('%d', -size))
end
redis.call('HDEL', KEYS[3], KEYS[1])
return was_there
