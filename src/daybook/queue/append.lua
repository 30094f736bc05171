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
local server_ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
local ms = server_ms
local counter = -1
local clock = redis.call('GET', KEYS[2])
if clock then
  local last_ms, last_counter = string.match(clock, '^(%d+)-(%d+)$')
  if tonumber(last_ms) >= ms then
    ms, counter = tonumber(last_ms), tonumber(last_counter)
  end
end

-- What was applied may go before its time when new entries need the room. Answers how many went.
local function make_room(partition)
  local cursor = redis.call('HGET', prefix .. 'cursors', partition)
  if not cursor then
    return 0
  end
  local cursor_ms, cursor_counter = string.match(cursor, '^(%d+)-(%d+)$')
  local first_kept = string.format('%s-%.0f', cursor_ms, tonumber(cursor_counter) + 1)
  return redis.call('XTRIM', prefix .. 'log:' .. partition, 'MINID', first_kept)
end

local COUNTER_MAX = 1048575
local AHEAD_MS_MAX = 60000
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
      make_room(partition)
      length = redis.call('XLEN', stream)
    end
    if length >= entries_max then
      full = true
    end
    local entry_id = nil
    if not full then
      counter = counter + 1
      if counter > COUNTER_MAX then
        ms, counter = ms + 1, 0
      end
      entry_id = string.format('%.0f-%.0f', ms, counter)
      local command = {'XADD', stream, entry_id,
        'i', ARGV[i + 3], 'k', key, 'c', ARGV[i + 4], 'b', ARGV[i + 5]}
      local added = redis.pcall(unpack(command))
      if type(added) == 'table' and added.err and string.find(added.err, 'equal or smaller', 1, true) then
        -- Somebody wrote into the stream past this script: the clock goes on behind that entry,
        -- unless that lies in a future that must not become everybody's present.
        local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1][1]
        local newest_ms, newest_counter = string.match(newest, '^(%d+)-(%d+)$')
        if tonumber(newest_ms) > server_ms + AHEAD_MS_MAX then
          return added
        end
        ms, counter = tonumber(newest_ms), tonumber(newest_counter) + 1
        entry_id = string.format('%.0f-%.0f', ms, counter)
        command[3] = entry_id
        added = redis.pcall(unpack(command))
      end
      if type(added) == 'table' and added.err then
        if not string.find(added.err, 'OOM', 1, true) then
          return added
        end
        -- The server's memory is at its bound: only as much may come as goes.
        local gone = 0
        for other = 0, partitions - 1 do
          gone = gone + make_room(other)
        end
        if gone >= (#ARGV - i + 1) / 6 then
          redis.call(unpack(command))
        else
          full = true
        end
      end
    end
    if full then
      results[#results + 1] = 'F'
    else
      last_id = entry_id
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
