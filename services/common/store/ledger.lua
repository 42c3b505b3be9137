-- Adds uses to the counters, each once.
--
-- KEYS: how far the log has been added; then for each use the hash of its day, and what its tenant has spent on that
-- day and in that month.
-- ARGV: times to live in ms of the first key, of days, and of what is spent; then FIELDS for each use: its number in
-- the log, the beginning of its counters' names, then what is added to them.
-- Returns how many were counted.

local FIELDS = 7
local COUNTERS = { 'prompt_tokens', 'cached_tokens', 'generated_tokens', 'kv_token_ms', 'cost_nano' }

local added = tonumber(redis.call('GET', KEYS[1]) or '0')
local last, counted = added, 0

for i = 1, (#KEYS - 1) / 3 do
  local at, key = 4 + (i - 1) * FIELDS, 3 * i - 1
  local number, day = tonumber(ARGV[at]), KEYS[key]
  if number > added then
    last, counted = math.max(last, number), counted + 1
    redis.call('HINCRBY', day, ARGV[at + 1] .. 'requests', 1)
    for each, counter in ipairs(COUNTERS) do
      redis.call('HINCRBY', day, ARGV[at + 1] .. counter, ARGV[at + 1 + each])
    end
    redis.call('PEXPIRE', day, ARGV[2])
    local cost = ARGV[at + 6]
    if cost ~= '0' then
      for each = 1, 2 do
        redis.call('INCRBY', KEYS[key + each], cost)
        redis.call('PEXPIRE', KEYS[key + each], ARGV[3])
      end
    end
  end
end

if last > added then redis.call('SET', KEYS[1], string.format('%.0f', last), 'PX', ARGV[1]) end
return counted
