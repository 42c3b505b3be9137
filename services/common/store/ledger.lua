-- Adds uses to the counters, each once.
--
-- KEYS: how far the log has been added; then for each use the hash of its day, and what is set once its name is
-- counted (the first key again, where it has no name).
-- ARGV: times to live in ms of the first key, of days and of names; then FIELDS for each use: its number in the
-- log, the beginning of its counters' names, then what is added to them.
-- Returns how many were counted.

local FIELDS = 7
local COUNTERS = { 'prompt_tokens', 'cached_tokens', 'generated_tokens', 'kv_token_ms', 'cost_nano' }

local added = tonumber(redis.call('GET', KEYS[1]) or '0')
local last, counted = added, 0

for i = 1, (#KEYS - 1) / 2 do
  local at = 4 + (i - 1) * FIELDS
  local number, day, name = tonumber(ARGV[at]), KEYS[2 * i], KEYS[2 * i + 1]
  if number > added then
    last = math.max(last, number)
    if name == KEYS[1] or redis.call('SET', name, 1, 'NX', 'PX', ARGV[3]) then
      counted = counted + 1
      redis.call('HINCRBY', day, ARGV[at + 1] .. 'requests', 1)
      for each, counter in ipairs(COUNTERS) do
        redis.call('HINCRBY', day, ARGV[at + 1] .. counter, ARGV[at + 1 + each])
      end
      redis.call('PEXPIRE', day, ARGV[2])
    end
  end
end

if last > added then redis.call('SET', KEYS[1], string.format('%.0f', last), 'PX', ARGV[1]) end
return counted
