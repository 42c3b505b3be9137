-- Keeps an entry of an owner, and all of the owner's within their bounds.
--
-- KEYS: the entry, the index of its owner's entries by age, and their sizes. ARGV: the value, its time to live in
-- ms, how many entries and how many bytes an owner may have, and the time in us.

local entry, index, sizes = KEYS[1], KEYS[2], KEYS[3]
local ttl_ms, entries_max, bytes_max = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local total = 'total'

local function forget(key)
  redis.call('DEL', key)
  redis.call('ZREM', index, key)
  local size = tonumber(redis.call('HGET', sizes, key) or 0)
  if size > 0 then
    redis.call('HINCRBY', sizes, total, string.format('%d', -size))
  end
  redis.call('HDEL', sizes, key)
end

for _, key in ipairs(redis.call('ZRANGEBYSCORE', index, '-inf', tonumber(ARGV[5]) - ttl_ms * 1000)) do
  forget(key)
end
forget(entry)
redis.call('SET', entry, ARGV[1], 'PX', ttl_ms)
redis.call('ZADD', index, ARGV[5], entry)
redis.call('HSET', sizes, entry, #ARGV[1])
redis.call('HINCRBY', sizes, total, #ARGV[1])
while redis.call('ZCARD', index) > entries_max or tonumber(redis.call('HGET', sizes, total)) > bytes_max do
  forget(redis.call('ZRANGE', index, 0, 0)[1])
end
redis.call('PEXPIRE', index, ttl_ms)
redis.call('PEXPIRE', sizes, ttl_ms)
return 1
