-- Reserves an estimate for a turn, unless a limit is reached.
--
-- KEYS  1 daily   2 weekly   3 reservations (hash: turn to amount and time)
--       4 the index of all reservations, if it is on this server
-- ARGV  1 daily limit   2 weekly limit (0 for none)
--       3 turn   4 amount   5 milliseconds since 1970   6 seconds that reservations are kept at most
--       7 the turn as a member of 4
-- Returns {word, daily, weekly, reserved by others}: ok, daily, weekly or corrupt.
--
-- Atomic, so that of any number of submits at the edge exactly those pass that find room. However
-- large the amount: it is refused only if there is no room at all. A repeated call changes nothing.
-- A reservation is noted in the index or it is not made: nobody would ever find it.
local oldest = tonumber(ARGV[5]) - 1000 * tonumber(ARGV[6])
local daily, weekly, others = counter(KEYS[1]), counter(KEYS[2]), reserved(KEYS[3], ARGV[3], oldest)
if not (daily and weekly and others) then return {'corrupt', 0, 0, 0} end

local function reached(used, limit)
    limit = tonumber(limit)
    return limit > 0 and used + others >= limit
end
if reached(daily, ARGV[1]) then return {'daily', daily, weekly, others} end
if reached(weekly, ARGV[2]) then return {'weekly', daily, weekly, others} end

if KEYS[4] then redis.call('ZADD', KEYS[4], ARGV[5], ARGV[7]) end
redis.call('HSET', KEYS[3], ARGV[3], ARGV[4] .. ':' .. ARGV[5])
redis.call('EXPIRE', KEYS[3], ARGV[6])
return {'ok', daily, weekly, others}
