-- Stores a value unless another one is there, and returns what is there then.
--
-- KEYS: the key. ARGV: the value, and its time to live in ms; 0 gives up what is one's own.

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return holder
end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return ARGV[1]
