-- Carries out what was decided about deliveries of one group.
-- ARGV  3 group, 4 host, 5.. for each delivery, in the order of their entries: what, entry, attempt,
--       value
--       what  acknowledge | extend | release | retry (value: ms until it is due)
--             | dead (value: the reason)
-- Gives for each 1, or 0 where its lease was lost.
local group, host = ARGV[3], ARGV[4]
local outcomes = (#ARGV - 4) / 4
local done, is_done, held_by_host = {}, {}, {}

-- Looks up what this host holds, for all deliveries together: mostly they lie close to each other.
local function look_up()
  local first, last = ARGV[6], ARGV[#ARGV - 2]
  local near = call('XPENDING', entries, group, first, last, outcomes * 4, host)
  for _, found in ipairs(near) do
    held_by_host[found[1]] = found[4]
  end
end

-- What was not found with the others, or has changed since, is looked up by itself.
local function holds(id, attempt)
  local count = held_by_host[id]
  if not count and not is_done[id] then
    local found = call('XPENDING', entries, group, id, id, 1, host)[1]
    count = found and found[4]
  end
  held_by_host[id] = nil
  return count == attempt
end

-- What this group is done with leaves it at the end, in one go.
local function finish(id)
  done[#done + 1] = id
  is_done[id] = true
end

local function put_back(id, attempts, due_at)
  local waits = attempts > 0 and '~waiting' or '~again'
  local moved = call('XCLAIM', entries, group, waits, 0, id, 'RETRYCOUNT', attempts, 'JUSTID')
  if #moved > 0 then
    call('ZADD', due, due_at, id)
    ring()
  end
end

local steps = {}

function steps.acknowledge(id)
  finish(id)
end

function steps.extend(id)
  call('XCLAIM', entries, group, host, 0, id, 'JUSTID')
end

function steps.release(id, attempt)
  put_back(id, attempt - 1, at_once(id))
end

function steps.retry(id, attempt, after)
  after = tonumber(after)
  put_back(id, attempt, after > 0 and now() + after or at_once(id))
end

function steps.dead(id, attempt, reason)
  call('ZADD', dead, score(id), id)
  call('HSET', letters, id, string.format('%.0f %d ', now() * 1000, attempt) .. reason)
  call('HINCRBY', held, id, 1)
  finish(id)
end

local answers = {}
local known = call('HEXISTS', groups, group) == 1
if known and outcomes > 1 then
  look_up()
end
for at = 5, #ARGV, 4 do
  local id, attempt = ARGV[at + 1], tonumber(ARGV[at + 2])
  local holding = known and holds(id, attempt)
  if holding then
    steps[ARGV[at]](id, attempt, ARGV[at + 3])
  end
  answers[#answers + 1] = holding and 1 or 0
end
if #done > 0 then
  call('XACK', entries, group, unpack(done))
  remove_settled(done, cursors_of_others(group))
end
return answers
