#!lua flags=allow-oom
-- Write the outcomes of a batch that Postgres has committed.
--
-- KEYS[1] state of the log (hash).
-- ARGV[1] prefix of all keys, ARGV[2] partition, ARGV[3] number of the batch, ARGV[4] entry id of
-- the cursor, ARGV[5] and ARGV[6] the sequences behind which and up to which outcomes are told now,
-- ARGV[7] life of an outcome in seconds, then two for each outcome: key, value.
--
-- A worker that was stopped for a long time may reply late: an older batch never moves the marks
-- of a newer one back. Outcomes themselves are final, so writing them again does no harm.
--
-- allow-oom: a server whose memory is full must still let the workers get on, or it stays full.
local prefix, partition, batch = ARGV[1], ARGV[2], tonumber(ARGV[3])
for i = 8, #ARGV, 2 do
  redis.call('SET', prefix .. 'outcome:' .. ARGV[i], ARGV[i + 1], 'EX', ARGV[7])
end
local replied = tonumber(redis.call('HGET', prefix .. 'replied', partition) or '-1')
if batch >= replied then
  redis.call('HSET', prefix .. 'cursors', partition, ARGV[4])
  -- Where the log has lost its end, older outcomes are to be told again before this counts.
  if tonumber(redis.call('HGET', prefix .. 'told', partition) or '0') >= tonumber(ARGV[5]) then
    redis.call('HSET', prefix .. 'replied', partition, ARGV[3])
    redis.call('HSET', prefix .. 'told', partition, ARGV[6])
  end
end
return replied
