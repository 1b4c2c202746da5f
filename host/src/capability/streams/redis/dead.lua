-- Shows dead letters, the oldest entry first.
-- ARGV  3 group, 4 the first one's place (from 0), 5 the last one's
-- Gives {{entry, letter, fields}, ...}.
if call('HEXISTS', groups, ARGV[3]) == 0 then
  return unknown_group()
end
local shown = {}
for at, id in ipairs(call('ZRANGE', dead, ARGV[4], ARGV[5])) do
  local entry = call('XRANGE', entries, id, id)[1]
  shown[at] = {id, call('HGET', letters, id), entry and entry[2] or {}}
end
return shown
