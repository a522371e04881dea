-- Empties a user's day, and gives the week back what the day could hold.
--
-- KEYS  1 daily   2 weekly   3 paid resets of the day   4 lock   5 the last reset that was carried out
-- ARGV  1 reset   2 token of the lock   3 daily limit   4 weekly limit (0 for none)
--       5 resets a day (0 for any number)   6 seconds until the day is over   7 seconds that 5 is kept
--       8 until when, in milliseconds of this server's clock
-- Returns {word, weekly}: done, known, unlocked, corrupt, room, weekly or exhausted. Only `done`
-- changed anything; `known` says that an earlier call of this reset did.
--
-- A command can reach the server long after its sender gave up. It must do nothing then: the money
-- may have gone back.
if redis.call('GET', KEYS[5]) == ARGV[1] then return {'known', counter(KEYS[2]) or 0} end
local time = redis.call('TIME')
local late = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000 > tonumber(ARGV[8])
if late or redis.call('GET', KEYS[4]) ~= ARGV[2] then return {'unlocked', 0} end
local daily, weekly, resets = counter(KEYS[1]), counter(KEYS[2]), counter(KEYS[3])
if not (daily and weekly and resets) then return {'corrupt', 0} end
local limit, weekly_limit, most = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if daily < limit then return {'room', weekly} end
if weekly_limit > 0 and weekly >= weekly_limit then return {'weekly', weekly} end
if most > 0 and resets >= most then return {'exhausted', weekly} end

redis.call('DEL', KEYS[1])
if redis.call('EXISTS', KEYS[2]) == 1 then
    weekly = math.max(0, weekly - limit)
    redis.call('SET', KEYS[2], string.format('%.0f', weekly), 'KEEPTTL')
end
redis.call('INCR', KEYS[3])
redis.call('EXPIRE', KEYS[3], ARGV[6])
redis.call('SET', KEYS[5], ARGV[1], 'EX', ARGV[7])
return {'done', weekly}
