-- Adds an entry.
-- ARGV  3 most entries that the subject may hold, 4.. the entry's fields and values
-- Gives {entry, entries ever published}, or nil where the subject is full.
if call('XLEN', entries) - call('ZCARD', parked) >= tonumber(ARGV[3]) then
  return false
end
local id = call('XADD', entries, '*', unpack(ARGV, 4))
ring()
return {id, call('HINCRBY', counts, 'added', 1)}
