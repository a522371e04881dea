-- Gives back what a turn has reserved, and then forgets it.
--
-- KEYS  1 reservations (hash)   2 the index of all reservations, if it is on this server
-- ARGV  1 turn   2 the turn as a member of 2
-- What cannot be given back stays in the index, for the next one who looks.
redis.call('HDEL', KEYS[1], ARGV[1])
if KEYS[2] then redis.call('ZREM', KEYS[2], ARGV[2]) end
return 1
