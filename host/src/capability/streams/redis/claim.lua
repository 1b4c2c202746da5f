-- Leases what is due and then what comes next, and counts the attempts.
-- ARGV  3 group, 4 host, 5 most deliveries, 6 "1" to look for leases that ran out
-- Gives {ms until something is due again (-1: nothing is), {{entry, attempt, fields}, ...}}; the first
-- counts only where the second is empty. Then the subject is marked as waited for.
local group, host, room = ARGV[3], ARGV[4], tonumber(ARGV[5])
local day_ms = 24 * 60 * 60 * 1000
local lease = call('HGET', groups, group)
if not lease then
  return unknown_group()
end
local claimed = {}

local function take(id, attempts)
  local attempt = attempts + 1
  local found = call('XCLAIM', entries, group, host, 0, id, 'RETRYCOUNT', attempt)
  if found[1] then
    claimed[#claimed + 1] = {id, attempt, found[1][2]}
    room = room - 1
  end
end

-- The server counts idle time in whole ms, from a moment that it rounded down.
local function take_what_ran_out()
  for _, flat in ipairs(call('XINFO', 'CONSUMERS', entries, group)) do
    local consumer = record(flat)
    if string.sub(consumer.name, 1, 1) == '~' then
      -- Nobody's, but the schedule's.
    elseif consumer.pending > 0 and room > 0 then
      local late = call('XPENDING', entries, group, 'IDLE', lease + 1, '-', '+', room, consumer.name)
      for _, found in ipairs(late) do
        take(found[1], found[4])
      end
    elseif consumer.pending == 0 and consumer.idle > day_ms and consumer.name ~= host then
      call('XGROUP', 'DELCONSUMER', entries, group, consumer.name)
    end
  end
end

local function take_what_is_due()
  for _, id in ipairs(call('ZRANGEBYSCORE', due, '-inf', now(), 'LIMIT', 0, room)) do
    call('ZREM', due, id)
    local found = call('XPENDING', entries, group, id, id, 1)[1]
    if found and string.sub(found[2], 1, 1) == '~' then
      take(id, found[4])
    end
  end
end

-- Gives whether there may be more. What is parked was settled before this group was declared.
local function take_what_is_next()
  local answer = call('XREADGROUP', 'GROUP', group, host, 'COUNT', room, 'STREAMS', entries, '>')
  if not answer then
    return false
  end
  local asked, fresh = room, answer[1][2]
  call('HINCRBY', counts, 'read:' .. group, #fresh)
  local some_parked = call('ZCARD', parked) > 0
  for _, entry in ipairs(fresh) do
    if some_parked and call('ZSCORE', parked, entry[1]) then
      call('XACK', entries, group, entry[1])
    else
      claimed[#claimed + 1] = {entry[1], 1, entry[2]}
      room = room - 1
    end
  end
  return #fresh == asked
end

if ARGV[6] == '1' then
  take_what_ran_out()
end
if room > 0 then
  take_what_is_due()
end
while room > 0 and take_what_is_next() do
end
if #claimed > 0 then
  return {-1, claimed}
end
call('SET', idle, 1)
local next_due = call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
return {next_due and math.max(0, math.ceil(next_due - now())) or -1, claimed}
