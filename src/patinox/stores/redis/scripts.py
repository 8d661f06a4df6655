"""What the engine does in one step: Lua, run by Redis or Valkey with nothing in between.

Each script's keys lie in one hash slot: those of one stream, or those of the index. Times are the engine's own
(`TIME`); the times that streams tell (`ended`) pass through as text, since Lua would round them.

While a lease was running out the engine may have been away, so that nobody could renew it: after a start of the engine
a lease's length passes before any is over (`wait`).

An append is one blob, of words that each have their length before them (4 bytes, big-endian): fence, after, size,
outcome, end (both empty while it is open), epoch, how many words of producers follow, these, the chunks.

A record is a hash: facts, epoch, token (of the call that made it), head, size, ttl (ms), node, fence, until (ms), lease
(ms), outcome and ended once it has ended, `p:<producer>` = "epoch next". A trace is a hash with `gone` alone.
"""

_NOW = """
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
"""

CREATE = (
    _NOW
    + """
local record, chunks = KEYS[1], KEYS[2]
local facts, epoch, token, node, lease, ttl = unpack(ARGV)
local was = redis.call('HMGET', record, 'token', 'gone')
if was[1] == token then return 'ok' end
if was[1] then return 'exists' end
redis.call('DEL', record, chunks)
redis.call('HSET', record, 'facts', facts, 'epoch', epoch, 'token', token, 'node', node, 'fence', 1, 'head', 0,
  'size', 0, 'ttl', ttl, 'lease', lease, 'until', string.format('%.0f', now_ms() + lease))
return 'ok'
"""
)

APPEND = """
local function same(chunks, after, items)
  local there = redis.call('LRANGE', chunks, after, after + #items - 1)
  for i = 1, #items do
    if there[i] ~= items[i] then return false end
  end
  return true
end

local function words(blob, at, most)
  local found = {}
  while at <= #blob and #found < most do
    found[#found + 1], at = struct.unpack('>I4c0', blob, at)
  end
  return found, at
end

local function put(record, chunks, channel, blob)
  local head_words, at = words(blob, 1, 7)
  local fence, size, outcome, ended = head_words[1], head_words[3], head_words[4], head_words[5]
  local after = tonumber(head_words[2])
  local producers, items
  producers, at = words(blob, at, tonumber(head_words[7]))
  items = words(blob, at, math.huge)
  local was = redis.call('HMGET', record, 'fence', 'head', 'outcome', 'gone', 'ttl')
  if was[4] then return 'gone' end
  if not was[1] then return 'missing' end
  if was[1] ~= fence then return 'fenced' end
  local head = tonumber(was[2])
  if #items > 0 and head == after + #items and same(chunks, after, items) then return 'ok' end
  if was[3] then return 'closed ' .. was[3] end
  if head ~= after then return string.format('conflict %d', head) end
  for first = 1, #items, 1000 do
    redis.call('RPUSH', chunks, unpack(items, first, math.min(first + 999, #items)))
  end
  if #producers > 0 then redis.call('HSET', record, unpack(producers)) end
  if #items == 0 then return 'ok' end
  redis.call('HINCRBY', record, 'size', size)
  redis.call('HSET', record, 'head', string.format('%d', head + #items))
  if outcome ~= '' then
    redis.call('HSET', record, 'outcome', outcome, 'ended', ended)
    local last_ms = string.format('%.0f', was[5] + ARGV[1])
    redis.call('PEXPIRE', record, last_ms)
    redis.call('PEXPIRE', chunks, last_ms)
  end
  redis.call('SPUBLISH', channel, blob)
  return 'ok'
end

local said = {}
for i = 0, #KEYS / 3 - 1 do
  said[i + 1] = put(KEYS[3 * i + 1], KEYS[3 * i + 2], KEYS[3 * i + 3], ARGV[i + 2])
end
return said
"""

TAKE_OVER = (
    _NOW
    + """
local record, channel = KEYS[1], KEYS[2]
local node, lease = unpack(ARGV)
local was = redis.call('HMGET', record, 'fence', 'outcome', 'gone', 'node')
if was[3] then return 'gone' end
if not was[1] then return 'missing' end
if was[2] then return 'closed ' .. was[2] end
local fence = string.format('%d', was[1] + 1)
redis.call('HSET', record, 'node', node, 'fence', fence, 'lease', lease,
  'until', string.format('%.0f', now_ms() + lease))
redis.call('SPUBLISH', channel, 'T' .. fence .. ' ' .. node)
return {was[4], redis.call('HGETALL', record)}
"""
)

RENEW = (
    _NOW
    + """
local node, lease = ARGV[1], ARGV[2]
local untl = string.format('%.0f', now_ms() + lease)
local said = {}
for i, record in ipairs(KEYS) do
  local was = redis.call('HMGET', record, 'fence', 'node', 'outcome')
  if was[1] == ARGV[i + 2] and was[2] == node then
    if not was[3] then redis.call('HSET', record, 'until', untl, 'lease', lease) end
    said[i] = 1
  else
    said[i] = 0
  end
end
return said
"""
)

LEASE_STATE = (
    _NOW
    + """
local now = now_ms()
local up_ms = 1000 * string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)')
local said = {}
for i, record in ipairs(KEYS) do
  local was = redis.call('HMGET', record, 'fence', 'outcome', 'until', 'lease', 'ended', 'ttl')
  if not was[1] then said[i] = {'none'}
  elseif was[2] then said[i] = {'ended', was[5], was[6]}
  elseif tonumber(was[3]) <= now and up_ms < tonumber(was[4]) then said[i] = {'wait'}
  elseif tonumber(was[3]) <= now then said[i] = {'over', was[4]}
  else said[i] = {'held', string.format('%.0f', was[3] - now)}
  end
end
return said
"""
)

DELETE = """
local record, chunks, channel = KEYS[1], KEYS[2], KEYS[3]
local trace, at = ARGV[1], ARGV[2]
local was = redis.call('HMGET', record, 'facts', 'outcome', 'ended', 'ttl', 'node')
if not was[1] then return {'none'} end
if at ~= '' then
  if not was[2] then return {'open'} end
  if was[3] + was[4] / 1000 > tonumber(at) then return {'kept', was[3], was[4]} end
end
redis.call('DEL', record, chunks)
if trace ~= '' then
  redis.call('HSET', record, 'gone', 1)
  redis.call('PEXPIRE', record, trace)
end
redis.call('SPUBLISH', channel, 'D')
return {'ok', was[1], was[5]}
"""

ENROL = (
    _NOW
    + """
local order, all, tenant, leases, epoch = unpack(KEYS)
local member, lease = unpack(ARGV)
local number = redis.call('INCR', order)
redis.call('ZADD', all, 'NX', number, member)
redis.call('ZADD', tenant, 'NX', number, member)
redis.call('ZADD', leases, 'NX', string.format('%.0f', now_ms() + lease), member)
return redis.call('SET', epoch, member, 'NX') and 1 or 0
"""
)

HOLD = (
    _NOW
    + """
local untl = string.format('%.0f', now_ms() + ARGV[1])
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], untl, ARGV[i]) end
return 'ok'
"""
)

OVERDUE = (
    _NOW
    + """
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now_ms()), 'LIMIT', 0, ARGV[1])
"""
)
