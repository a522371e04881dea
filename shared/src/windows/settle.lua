-- Counts what a step used, once, and takes it off its turn's reservation.
--
-- KEYS  1 daily   2 weekly   3 reservations (hash)   4 settled steps (set)
--       5 the index of all reservations, if it is on this server
-- ARGV  1 turn   2 step of the turn, as a member of 4   3 weighted tokens
--       4 and 5 seconds that the daily and the weekly counter are kept; 0 for a day that is over
--       6 '1' if the turn has ended, and its reservation with it
--       7 the turn as a member of 5
-- Returns {word, daily, weekly}: counted, known or corrupt.
--
-- The set remembers as long as a window is open in which a step could be counted twice: to the end
-- of the week, some 90 bytes a step.
local daily, weekly = counter(KEYS[1]), counter(KEYS[2])
if not (daily and weekly) then return {'corrupt', 0, 0} end

local function count(key, used, ttl)
    if tonumber(ttl) <= 0 then return used end
    if used < MOST then redis.call('INCRBY', key, ARGV[3]) end
    redis.call('EXPIRE', key, ttl)
    return math.min(used + tonumber(ARGV[3]), MOST)
end

local held = redis.pcall('HGET', KEYS[3], ARGV[1])
local word = 'known'
if redis.call('SADD', KEYS[4], ARGV[2]) == 1 then
    word = 'counted'
    daily = count(KEYS[1], daily, ARGV[4])
    weekly = count(KEYS[2], weekly, ARGV[5])
    local amount, since = string.match(type(held) == 'string' and held or '', '^(%d+):(%d+)$')
    if amount then
        local left = math.max(0, tonumber(amount) - tonumber(ARGV[3]))
        redis.call('HSET', KEYS[3], ARGV[1], string.format('%.0f', left) .. ':' .. since)
    end
end
redis.call('EXPIRE', KEYS[4], ARGV[5])
if ARGV[6] == '1' and type(redis.pcall('HDEL', KEYS[3], ARGV[1])) == 'number' and KEYS[5] then
    redis.pcall('ZREM', KEYS[5], ARGV[7])
end
return {word, daily, weekly}
