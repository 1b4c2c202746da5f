-- Writes a value if what is there is what the caller expects.
--   KEYS  the store's values (hash), the store's keys (sorted set)
--   ARGV  key, new value, the expected value (left out: none is expected)
-- Gives 1; or 0, and with it what was found instead, if anything was.
local found = redis.call('HGET', KEYS[1], ARGV[1])
if found ~= (ARGV[3] or false) then
    return found and {0, found} or {0}
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if not found then
    redis.call('ZADD', KEYS[2], 0, ARGV[1])
end
return {1}
