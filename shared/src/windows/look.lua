-- What a user's counters say.
--
-- KEYS  1 daily   2 weekly   3 paid resets of the day
-- Returns {word, daily, weekly, resets}: ok or corrupt.
local daily, weekly, resets = counter(KEYS[1]), counter(KEYS[2]), counter(KEYS[3])
if not (daily and weekly and resets) then return {'corrupt', 0, 0, 0} end
return {'ok', daily, weekly, resets}
