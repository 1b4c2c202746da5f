-- Puts dead letters back before their group, with no attempt counted.
-- ARGV  3 group, 4 most of them, 5 the one entry that is meant, or ""
-- Gives {dead letters that are gone, entries that are back}: fewer where somebody deleted entries.
local group = ARGV[3]
if call('HEXISTS', groups, group) == 0 then
  return unknown_group()
end
local ids = {ARGV[5]}
if ARGV[5] == '' then
  ids = call('ZRANGE', dead, 0, ARGV[4] - 1)
end
local gone, back = 0, 0
for _, id in ipairs(ids) do
  if call('ZREM', dead, id) == 1 then
    gone = gone + 1
    call('HDEL', letters, id)
    call('ZREM', parked, id)
    let_go(id)
    local moved = call('XCLAIM', entries, group, '~again', 0, id, 'RETRYCOUNT', 0, 'FORCE', 'JUSTID')
    if #moved > 0 then
      call('ZADD', due, at_once(id), id)
      back = back + 1
    end
  end
end
if back > 0 then
  ring()
end
return {gone, back}
