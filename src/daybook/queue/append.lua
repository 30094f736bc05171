-- Append entries to the log: one atomic step, whatever the number of entries.
--
-- KEYS[1] state of the log (hash), KEYS[2] its clock.
-- ARGV[1] prefix of all keys, ARGV[2] life of a doorbell's mark in milliseconds, then six for each
-- entry: slot, outcome key, fingerprint (64 hex digits), request id, flags, body.
--
-- Answers {'OK', {partitions whose doorbell must be rung}, {one result for each entry}}, where a
-- result is 'A<entry id>' accepted, 'D<value>' sent before, 'C<value>' the key belongs to another
-- request, 'F' the log is full (it and all after it were not accepted).
-- Answers {'NOT_INSTALLED'} when there is no log here.
local state = redis.call('HMGET', KEYS[1], 'partitions', 'entries_max')
if not state[1] then
  return {'NOT_INSTALLED'}
end
local partitions, entries_max = tonumber(state[1]), tonumber(state[2])
local prefix = ARGV[1]

-- One clock for all partitions, never going back: entry ids are a total order of acceptance.
local now = redis.call('TIME')
local ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
local counter = -1
local clock = redis.call('GET', KEYS[2])
if clock then
  local last_ms, last_counter = string.match(clock, '^(%d+)-(%d+)$')
  if tonumber(last_ms) >= ms then
    ms, counter = tonumber(last_ms), tonumber(last_counter)
  end
end

local COUNTER_MAX = 1048575
local lengths, rung, bells, results = {}, {}, {}, {}
local full, last_id = false, nil

for i = 3, #ARGV, 6 do
  local slot, key, fingerprint = tonumber(ARGV[i]), ARGV[i + 1], ARGV[i + 2]
  local outcome_key = prefix .. 'outcome:' .. key
  local known = redis.call('GET', outcome_key)
  if known then
    local same = string.sub(known, 1, 64) == fingerprint
    results[#results + 1] = (same and 'D' or 'C') .. known
  else
    local partition = slot % partitions
    local stream = prefix .. 'log:' .. partition
    local length = lengths[partition] or redis.call('XLEN', stream)
    if length >= entries_max and not full then
      -- What was applied may go before its time when new entries need the room.
      local cursor = redis.call('HGET', prefix .. 'cursors', partition)
      if cursor then
        redis.call('XTRIM', stream, 'MINID', cursor)
        length = redis.call('XLEN', stream)
      end
    end
    if length >= entries_max then
      full = true
    end
    if full then
      results[#results + 1] = 'F'
    else
      counter = counter + 1
      if counter > COUNTER_MAX then
        ms, counter = ms + 1, 0
      end
      last_id = string.format('%.0f-%.0f', ms, counter)
      redis.call('XADD', stream, last_id, 'i', ARGV[i + 3], 'k', key, 'c', ARGV[i + 4], 'b', ARGV[i + 5])
      redis.call('SET', outcome_key, fingerprint .. 'Q' .. ARGV[i + 3] .. ' ' .. partition .. ' ' .. last_id)
      lengths[partition] = length + 1
      results[#results + 1] = 'A' .. last_id
      if not rung[partition] then
        rung[partition] = true
        if redis.call('SET', prefix .. 'bell:' .. partition, '1', 'NX', 'PX', ARGV[2]) then
          bells[#bells + 1] = partition
        end
      end
    end
  end
end
if last_id then
  redis.call('SET', KEYS[2], last_id)
end
return {'OK', bells, results}
