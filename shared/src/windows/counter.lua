-- Shared by the scripts of the windows: what counters and reservations say.

-- No counter is read or written beyond this: Lua counts exactly up to here.
local MOST = 9007199254740992

-- A counter's value, 0 where there is none; nil if it is no number, since nobody may guess then.
local function counter(key)
    local value = redis.pcall('GET', key)
    if type(value) == 'table' then return nil end
    if not value then return 0 end
    if not string.match(value, '^%-?%d+$') then return nil end
    return math.max(0, math.min(tonumber(value), MOST))
end

-- What turns other than `but` have reserved; nil if it cannot be told. What was reserved before
-- `oldest` is forgotten: no turn lives so long, and nothing else ends what its index has lost.
local function reserved(key, but, oldest)
    local fields = redis.pcall('HGETALL', key)
    if fields.err then return nil end
    local sum = 0
    for i = 1, #fields, 2 do
        if fields[i] ~= but then
            local amount, since = string.match(fields[i + 1], '^(%d+):(%d+)$')
            if not amount then return nil end
            if tonumber(since) < oldest then
                redis.call('HDEL', key, fields[i])
            else
                sum = math.min(sum + tonumber(amount), MOST)
            end
        end
    end
    return sum
end
