-- Makes a group known, at the oldest entry that the subject holds.
-- ARGV  3 group, 4 host, 5 lease in ms, 6 "1" where this host has just started: what it held before
--       is due at once, with the attempts counted
local group, host = ARGV[3], ARGV[4]
local created = redis.pcall('XGROUP', 'CREATE', entries, group, '0', 'MKSTREAM')
if not created.err then
  local added = call('HGET', counts, 'added') or 0
  call('HSET', counts, 'read:' .. group, added - call('XLEN', entries))
elseif string.sub(created.err, 1, 9) ~= 'BUSYGROUP' and string.sub(created.err, 1, 10) ~= '-BUSYGROUP' then
  return created
end
call('HSET', groups, group, ARGV[5])
if ARGV[6] == '1' then
  repeat
    local left = call('XPENDING', entries, group, '-', '+', 100, host)
    for _, found in ipairs(left) do
      local id, attempts = found[1], found[4]
      local moved = call('XCLAIM', entries, group, '~waiting', 0, id, 'RETRYCOUNT', attempts, 'JUSTID')
      if #moved > 0 then
        call('ZADD', due, at_once(id), id)
      end
    end
  until #left == 0
  ring()
end
return redis.status_reply('OK')
