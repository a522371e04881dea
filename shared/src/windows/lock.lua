-- Takes a lock that nobody holds.
--
-- KEYS  1 lock
-- ARGV  1 token   2 seconds until it lapses
-- Returns when it was taken, in milliseconds of this server's clock; 0 if another holds it.
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[2]) then return 0 end
local time = redis.call('TIME')
return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
