-- Shows entries that the subject holds, the oldest first.
-- ARGV  3 where to begin, as XRANGE takes it, 4 most of them
-- Gives {{entry, fields}, ...}.
local from, most = ARGV[3], tonumber(ARGV[4])
local shown = {}
repeat
  local page = call('XRANGE', entries, from, '+', 'COUNT', most - #shown)
  for _, entry in ipairs(page) do
    from = '(' .. entry[1]
    if not call('ZSCORE', parked, entry[1]) then
      shown[#shown + 1] = entry
    end
  end
until #shown == most or #page == 0
return shown
