-- Stands before every script: the keys, and the steps that several scripts share.
--
-- KEYS  1 entries  stream      what the subject holds, with a consumer group for each group
--       2 groups   hash        group -> lease in ms
--       3 counts   hash        added: entries ever published; read:GROUP: those before its cursor
--       4 held     hash        entry -> how many groups hold it as a dead letter
--       5 parked   sorted set  entries that are nothing but dead letters any more
--       6 idle     string      there while some claim waits on this subject
--   of one group also:
--       7 due      sorted set  entry -> when it is due again, in ms of the server's clock
--       8 dead     sorted set  dead letters, the oldest entry first
--       9 letters  hash        dead letter -> "DIED_AT_MICROS ATTEMPTS REASON"
-- ARGV  1 the bell's channel, 2 the subject, and from 3 on what the script itself takes
--
-- A pending entry's delivery count is its attempt, and its consumer is the host that holds it. What
-- waits is pending, too: for "~waiting" after an attempt, for "~again" when none counts.
local entries, groups, counts, held, parked, idle, due, dead, letters = unpack(KEYS)
local call = redis.call

-- The server's clock, in ms with a fraction.
local function now()
  local time = call('TIME')
  return time[1] * 1000 + time[2] / 1000
end

-- The two numbers of an entry's name: ms of its publication, and its place in them.
local function parts(id)
  local ms, sequence = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(sequence)
end

-- An entry's name as a score: its ms and, as their fraction, its place in them.
local function score(id)
  local ms, sequence = parts(id)
  return ms + math.min(sequence, 4095) / 4096
end

-- When an entry that is due at once was due: at its publication, so that the oldest comes first.
local function at_once(id)
  return math.min(score(id), now())
end

local function is_after(id, other)
  local ms, sequence = parts(id)
  local other_ms, other_sequence = parts(other)
  return ms > other_ms or (ms == other_ms and sequence > other_sequence)
end

-- Names and values in turn, as a table.
local function record(flat)
  local fields = {}
  for at = 1, #flat, 2 do
    fields[flat[at]] = flat[at + 1]
  end
  return fields
end

-- Has waiting claims look again. Nothing is sent where none waits.
local function ring()
  if call('DEL', idle) == 1 then
    call('PUBLISH', ARGV[1], ARGV[2])
  end
end

local function unknown_group()
  return redis.error_reply('NOGROUP no such group')
end

-- The cursors of all groups but one: the last entry that each was delivered.
local function cursors_of_others(group)
  local cursors = {}
  if call('HLEN', groups) == call('HEXISTS', groups, group) then
    return cursors
  end
  for _, flat in ipairs(call('XINFO', 'GROUPS', entries)) do
    local info = record(flat)
    if info.name ~= group and call('HEXISTS', groups, info.name) == 1 then
      cursors[info.name] = info['last-delivered-id']
    end
  end
  return cursors
end

-- Removes those entries that no group owes: none of `cursors`, whoever else was is done with them.
-- One that is still somebody's dead letter is parked instead, so that it keeps its name.
local function remove_settled(ids, cursors)
  local gone, some_held = {}, call('HLEN', held) > 0
  for _, id in ipairs(ids) do
    local owed = false
    for group, cursor in pairs(cursors) do
      owed = owed or is_after(id, cursor) or #call('XPENDING', entries, group, id, id, 1) > 0
    end
    if not owed and some_held and call('HEXISTS', held, id) == 1 then
      call('ZADD', parked, score(id), id)
    elseif not owed then
      gone[#gone + 1] = id
    end
  end
  if #gone > 0 then
    call('XDEL', entries, unpack(gone))
  end
  return gone
end

-- One dead letter less of an entry.
local function let_go(id)
  if call('HINCRBY', held, id, -1) <= 0 then
    call('HDEL', held, id)
  end
end
