#!lua flags=allow-oom
-- Write the outcomes of a batch that Postgres has committed.
--
-- KEYS[1] state of the log (hash).
-- ARGV[1] prefix of all keys, ARGV[2] partition, ARGV[3] number of the batch, ARGV[4] entry id of
-- the cursor, ARGV[5] life of an outcome in seconds, then two for each outcome: key, value.
--
-- A worker that was stopped for a long time may reply late: an older batch never moves the marks
-- of a newer one back, nor what it said of the same request. SCHEDULED has its end in a later batch.
--
-- allow-oom: a server whose memory is full must still let the workers get on, or it stays full.
local prefix, partition, batch = ARGV[1], ARGV[2], tonumber(ARGV[3])
local replied = tonumber(redis.call('HGET', prefix .. 'replied', partition) or '-1')
for i = 6, #ARGV, 2 do
  local key = prefix .. 'outcome:' .. ARGV[i]
  local known = batch < replied and redis.call('GET', key)
  if not known or string.sub(known, 65, 65) ~= 'R' then
    redis.call('SET', key, ARGV[i + 1], 'EX', ARGV[5])
  end
end
if batch >= replied then
  redis.call('HSET', prefix .. 'replied', partition, ARGV[3])
  redis.call('HSET', prefix .. 'cursors', partition, ARGV[4])
end
return replied
