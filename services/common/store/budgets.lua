-- Reconciles one gateway's leases of some tenants' budgets with those of all other gateways.
--
-- KEYS: the table of gateways, then one hash per tenant: `t` and `r` (tokens and requests that nobody has leased),
-- `at` (when they were refilled, ms), `short` and `by` (when a gateway last got less than it wanted, and which), and
-- for each gateway a field `g:<id>` with what it holds: tokens, requests,
-- slots, and when its leases end, ms.
-- ARGV: the gateway's id, how long its leases last in ms, then FIELDS numbers per tenant:
--   for tokens, then for requests: limit a minute (-1: none), held, returned, wanted, seed
--   for slots: limit (-1: none), held, wanted
-- Returns the number of live gateways, then per tenant:
--   for tokens, then requests: granted, left unleased;   for slots: granted, left free
--   1 where another gateway has lately got less than it wanted, else 0
--
-- Whatever is unleased plus whatever gateways hold never exceeds one minute's limit, and both together only grow by
-- the limit's rate: gateways that spend no more than they hold cannot pass the limit together.

local FIELDS = 13
local MINUTE_MS = 60000
local SHORT_MS = 1000
local IDLE_TTL_MS = 150000 -- by then a bucket is full again, even from as deep a debt as there can be

local clock = redis.call('TIME')
local now_ms = clock[1] * 1000 + clock[2] / 1000
local gateway, ttl_ms = ARGV[1], tonumber(ARGV[2])

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms)
redis.call('ZADD', KEYS[1], now_ms + ttl_ms, gateway)
redis.call('PEXPIRE', KEYS[1], IDLE_TTL_MS)
local reply = { redis.call('ZCARD', KEYS[1]) }

local function read(key)
  local state, elsewhere = {}, { 0, 0, 0 }
  local flat = redis.call('HGETALL', key)
  for i = 1, #flat, 2 do
    local name, value = flat[i], flat[i + 1]
    if name == 'by' then
      state.by = value
    elseif string.sub(name, 1, 2) ~= 'g:' then
      state[name] = tonumber(value)
    elseif name ~= 'g:' .. gateway then
      local held = cjson.decode(value)
      if held[4] <= now_ms then
        redis.call('HDEL', key, name) -- its slots are free; its tokens come back as the bucket refills
      else
        for each = 1, 3 do elsewhere[each] = elsewhere[each] + math.max(0, held[each]) end
      end
    end
  end
  return state, elsewhere
end

-- What is granted of a bucket, and what is left in it.
local function lease(level, elapsed_ms, elsewhere, at)
  local limit, held, returned = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local wanted, seed = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  if limit < 0 then return 0, 0, held, false end
  level = (level or seed) + limit / MINUTE_MS * elapsed_ms + returned
  level = math.max(-limit, math.min(level, limit - elsewhere - math.max(0, held)))
  local granted = math.max(0, math.min(wanted, math.floor(level)))
  return granted, level - granted, held + granted, granted < wanted
end

local function slots(elsewhere, at)
  local limit, held, wanted = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  if limit < 0 then return 0, 0, held, false end
  local free = limit - elsewhere - held -- negative after a time without the store: then some are taken back
  local granted = math.min(wanted, free)
  return granted, free - granted, held + granted, granted < wanted
end

for i = 2, #KEYS do
  local at = 3 + (i - 2) * FIELDS
  local state, elsewhere = read(KEYS[i])
  local elapsed_ms = math.max(0, now_ms - (state.at or now_ms))
  local tokens, tokens_left, tokens_held, tokens_short = lease(state.t, elapsed_ms, elsewhere[1], at)
  local requests, requests_left, requests_held, requests_short = lease(state.r, elapsed_ms, elsewhere[2], at + 5)
  local granted, free, slots_held, slots_short = slots(elsewhere[3], at + 10)
  local held = cjson.encode({ tokens_held, requests_held, slots_held, now_ms + ttl_ms })
  local is_contended = state.by and state.by ~= gateway and now_ms - state.short < SHORT_MS
  if tokens_short or requests_short or slots_short then
    redis.call('HSET', KEYS[i], 'short', string.format('%.3f', now_ms), 'by', gateway)
  end
  redis.call('HSET', KEYS[i], 't', string.format('%.6f', tokens_left), 'r', string.format('%.6f', requests_left),
    'at', string.format('%.3f', now_ms), 'g:' .. gateway, held)
  redis.call('PEXPIRE', KEYS[i], IDLE_TTL_MS)
  local told = { tokens, math.floor(tokens_left), requests, math.floor(requests_left), granted, free }
  for _, number in ipairs(told) do reply[#reply + 1] = number end
  reply[#reply + 1] = is_contended and 1 or 0
end
return reply
