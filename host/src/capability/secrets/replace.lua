-- Replaces a text if it is what the caller saw.
--   KEYS  where it is
--   ARGV  what the caller saw ("": nothing), the new text
-- Gives 1, or 0 if it has changed.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[2])
return 1
