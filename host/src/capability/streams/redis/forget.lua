-- Removes a group, its dead letters, and the entries that only it still owed.
-- ARGV  3 group
local group = ARGV[3]
if call('HDEL', groups, group) == 0 then
  return 0
end
call('XGROUP', 'DESTROY', entries, group)
for _, id in ipairs(call('ZRANGE', dead, 0, -1)) do
  let_go(id)
end
call('DEL', due, dead, letters)
call('HDEL', counts, 'read:' .. group)
ring()

local cursors = cursors_of_others(group)
if not next(cursors) then
  call('XTRIM', entries, 'MAXLEN', 0)
  call('DEL', parked)
  return 1
end
-- What lies behind any other's cursor is owed by that one.
local last
for _, cursor in pairs(cursors) do
  if not last or is_after(last, cursor) then
    last = cursor
  end
end
local from = '-'
repeat
  local page = call('XRANGE', entries, from, last, 'COUNT', 100)
  local ids = {}
  for at, entry in ipairs(page) do
    ids[at] = entry[1]
    from = '(' .. entry[1]
  end
  for _, id in ipairs(remove_settled(ids, cursors)) do
    call('ZREM', parked, id)
  end
until #page < 100
return 1
