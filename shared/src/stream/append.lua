-- Appends one batch of chunks to a turn, or only raises its attempt.
--
-- KEYS  1 meta (hash)   2 chunks (stream)   3 snapshot (string)
-- ARGV  1 attempt of the writer
--       2 first and 3 last sequence number of the batch; first = last + 1 for no batch, and then
--         last is how far the stream is known to reach
--       4 the batch, ready for the wire ('' for none)
--       5 '1' if its last chunk is the turn's last
--       6 milliseconds that an ended turn is kept
--       7 the snapshot after the batch ('' for none)
--       8 '1' to begin a stream that was lost, or lost its end, at this sequence number
-- Returns {word, last sequence number}: ok, fenced, closed, lost, or gap.
--
-- Atomic: Redis runs a script as one step, and all keys are in one slot. A writer whose answer
-- got lost may call again: a batch that is already there is answered with ok.
local attempt, first, last = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local meta = redis.call('HMGET', KEYS[1], 'attempt', 'last', 'closed')
local known = tonumber(meta[1])
local stored = tonumber(meta[2]) or 0

if known and known > attempt then
    return {'fenced', stored}
elseif known and meta[3] then
    return {'closed', stored}
elseif ARGV[8] == '1' and stored < first - 1 then
    redis.call('DEL', KEYS[2], KEYS[3])
    redis.call('HSET', KEYS[1], 'base', first - 1)
    stored = first - 1
elseif not known and first ~= 1 then
    return {'lost', 0}
end

if last < first then
    if stored < last then return {'lost', stored} end
    redis.call('HSET', KEYS[1], 'attempt', attempt, 'last', stored)
    if ARGV[7] ~= '' then redis.call('SET', KEYS[3], ARGV[7]) end
    return {'ok', stored}
end
if first ~= stored + 1 then
    if known == attempt and last <= stored then return {'ok', stored} end
    return {'gap', stored}
end

redis.call('XADD', KEYS[2], ARGV[3] .. '-0', 'b', ARGV[4])
if ARGV[7] ~= '' then redis.call('SET', KEYS[3], ARGV[7]) end
if ARGV[5] == '1' then
    redis.call('HSET', KEYS[1], 'attempt', attempt, 'last', last, 'closed', 1)
    for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ARGV[6]) end
else
    redis.call('HSET', KEYS[1], 'attempt', attempt, 'last', last)
end
redis.call('PUBLISH', KEYS[2], ARGV[4])
return {'ok', last}
