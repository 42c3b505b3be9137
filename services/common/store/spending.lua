-- Leases what is left of tenants' money to one gateway.
--
-- KEYS: for each purse (a tenant's budget for a day or a month) what the ledger has counted as spent, and a hash: `short`
-- and `by` (when a gateway last got less than it wanted, and which), and for each gateway a field `g:<id>` with what is
-- outstanding there, what of it may come back soon, and when its lease ends, ms.
-- ARGV: the gateway's id, how long leases last and how long what was spent is remembered, in ms; then FIELDS for each
-- purse: limit, outstanding, reserved, wanted, least, seed.
-- Returns for each purse: granted, left, recoverable from others, spent, and 1 where another gateway is short.
--
-- What is spent and what is outstanding at all gateways together never exceed the limit by a grant. A use is taken off
-- a gateway's outstanding only after the ledger has counted it, so it is never in neither.

local FIELDS = 6
local SHORT_MS = 1000
local IDLE_TTL_MS = 150000 -- leases have long ended by then, and all that lasts is what was spent

local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + clock[2] / 1000
local gateway, ttl_ms, spent_ttl_ms = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local reply = {}

local function others(key)
  local outstanding, recoverable, short, by = 0, 0, 0, nil
  local flat = redis.call('HGETALL', key)
  for i = 1, #flat, 2 do
    local name, value = flat[i], flat[i + 1]
    if name == 'by' then
      by = value
    elseif name == 'short' then
      short = tonumber(value)
    elseif name ~= 'g:' .. gateway then
      local lease = cjson.decode(value)
      if lease[3] <= now_ms then
        redis.call('HDEL', key, name)
      else
        outstanding, recoverable = outstanding + lease[1], recoverable + math.max(0, lease[2])
      end
    end
  end
  return outstanding, recoverable, by and by ~= gateway and now_ms - short < SHORT_MS
end

for i = 1, #KEYS / 2 do
  local spent_key, key, at = KEYS[2 * i - 1], KEYS[2 * i], 4 + (i - 1) * FIELDS
  local limit, outstanding, reserved = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local wanted, least, seed = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local spent = tonumber(redis.call('GET', spent_key) or '0')
  if seed > spent then
    redis.call('SET', spent_key, ARGV[at + 5], 'PX', spent_ttl_ms)
    spent = seed
  end
  local elsewhere, recoverable, is_contended = others(key)
  local free = limit - spent - elsewhere - outstanding
  local granted = math.max(0, math.min(wanted, free))
  if granted < least then granted = 0 end
  if granted < wanted then
    redis.call('HSET', key, 'short', string.format('%.3f', now_ms), 'by', gateway)
  end
  local lease = { outstanding + granted, outstanding + granted - reserved, now_ms + ttl_ms }
  redis.call('HSET', key, 'g:' .. gateway, cjson.encode(lease))
  redis.call('PEXPIRE', key, IDLE_TTL_MS)
  for _, number in ipairs({ granted, free - granted, recoverable, spent, is_contended and 1 or 0 }) do
    reply[#reply + 1] = number
  end
end
return reply
