-- How a group stands.
-- ARGV  3 group
-- Gives {length, lag, pending, waiting, age of the oldest unsettled entry in ms or -1, dead letters}.
local group = ARGV[3]
if call('HEXISTS', groups, group) == 0 then
  return unknown_group()
end
local cursor = '0-0'
for _, flat in ipairs(call('XINFO', 'GROUPS', entries)) do
  local info = record(flat)
  if info.name == group then
    cursor = info['last-delivered-id']
  end
end
local total, oldest, _, consumers = unpack(call('XPENDING', entries, group))
local waiting, again = 0, 0
for _, consumer in ipairs(consumers or {}) do
  if consumer[1] == '~waiting' then
    waiting = tonumber(consumer[2])
  elseif consumer[1] == '~again' then
    again = tonumber(consumer[2])
  end
end
local added = call('HGET', counts, 'added') or 0
local read = call('HGET', counts, 'read:' .. group) or 0
local next_score = string.format('(%.17g', score(cursor))
local ahead = math.max(0, added - read - call('ZCOUNT', parked, next_score, '+inf'))
if not oldest and ahead > 0 then
  local following = call('XRANGE', entries, '(' .. cursor, '+', 'COUNT', 1)[1]
  oldest = following and following[1]
end
return {
  call('XLEN', entries) - call('ZCARD', parked),
  ahead + again,
  total - again,
  waiting,
  oldest and math.floor(math.max(0, now() - parts(oldest))) or -1,
  call('ZCARD', dead),
}
