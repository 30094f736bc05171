#!lua flags=allow-oom
-- Write the outcomes of a batch that Postgres has committed.
--
-- KEYS[1] state of the log (hash).
-- ARGV[1] prefix of all keys, ARGV[2] partition, ARGV[3] number of the batch, ARGV[4] entry id of
-- the cursor, ARGV[5] and ARGV[6] the sequences behind which and up to which outcomes are told now,
-- ARGV[7] life of an outcome in seconds, then two for each outcome: key, value.
--
-- A worker that was stopped for a long time may reply late: an older batch never moves the marks
-- of a newer one back, nor what it said of the same request. SCHEDULED has its end in a later batch.
--
-- allow-oom: a server whose memory is full must still let the workers get on, or it stays full.
--
-- Returns who asked for these outcomes by a Celery message: {batch of the last reply, {key,
-- askers, key, askers, …}}, the askers as ``queue.waiting`` writes them.
--
-- When the log or the server's memory is nearly full, what was applied goes before its time: the
-- account of a producer may have no right to make room itself.
local NEARLY_FULL = 7 / 8
local prefix, partition, batch = ARGV[1], ARGV[2], tonumber(ARGV[3])
local replied = tonumber(redis.call('HGET', prefix .. 'replied', partition) or '') or -1
local asked, askers = prefix .. 'asked', {}
local anybody = redis.call('EXISTS', asked) == 1

-- What an append left under the id of a request with a reference is of use as long as its outcome:
-- then only a worker knows more. Most requests have none, and their marks say so.
local function keep_pointer(key, value)
  local id = string.match(value, '^R{"id":"([^"]+)"', 65)
  local place = id and prefix .. 'queued:i:' .. id
  if place and redis.pcall('GET', place) == '@' .. key then
    redis.call('EXPIRE', place, ARGV[7])
  end
end

for i = 8, #ARGV, 2 do
  local key = prefix .. 'outcome:' .. ARGV[i]
  local known = batch < replied and redis.call('GET', key)
  if not known or string.sub(known, 65, 65) ~= 'R' then
    redis.call('SET', key, ARGV[i + 1], 'EX', ARGV[7])
    local place = prefix .. 'queued:' .. ARGV[i]
    local mark = redis.pcall('GETDEL', place)
    if type(mark) == 'table' then -- no text: a stranger's
      redis.call('DEL', place)
    elseif mark and string.sub(mark, 65, 65) == 'P' then
      keep_pointer(ARGV[i], ARGV[i + 1])
    end
    local found = anybody and redis.pcall('HGET', asked, ARGV[i])
    if type(found) == 'string' then
      askers[#askers + 1] = ARGV[i]
      askers[#askers + 1] = found
    end
  end
end
if batch >= replied then
  redis.call('HSET', prefix .. 'cursors', partition, ARGV[4])
  -- Where the log has lost its end, older outcomes are to be told again before this counts.
  local told = tonumber(redis.call('HGET', prefix .. 'told', partition) or '') or 0
  if told >= tonumber(ARGV[5]) then
    redis.call('HSET', prefix .. 'replied', partition, ARGV[3])
    redis.call('HSET', prefix .. 'told', partition, ARGV[6])
  end
end

local function make_room(other)
  local cursor = redis.call('HGET', prefix .. 'cursors', other)
  local ms, counter = string.match(cursor or '', '^(%d+)-(%d+)$')
  if ms then
    local first_kept = string.format('%s-%.0f', ms, tonumber(counter) + 1)
    redis.call('XTRIM', prefix .. 'large:' .. other, 'MINID', first_kept)
    redis.call('XTRIM', prefix .. 'log:' .. other, 'MINID', first_kept)
  end
end

local function short_of_memory()
  local about = redis.call('INFO', 'memory')
  local bound = tonumber(string.match(about, '\nmaxmemory:(%d+)'))
  return bound > 0 and tonumber(string.match(about, '\nused_memory:(%d+)')) > bound * NEARLY_FULL
end

local state = redis.call('HMGET', KEYS[1], 'partitions', 'entries_max')
local partitions, entries_max = tonumber(state[1] or ''), tonumber(state[2] or '')
if partitions and entries_max then
  if short_of_memory() then
    for other = 0, partitions - 1 do
      make_room(other)
    end
  elseif redis.call('XLEN', prefix .. 'log:' .. partition) >= entries_max * NEARLY_FULL then
    make_room(partition)
  end
end
return {replied, askers}
