-- Append entries to the log: one atomic step, whatever the number of entries. Behind clock.lua.
--
-- KEYS[1] state of the log (hash), KEYS[2] its clock.
-- ARGV[1] prefix of all keys, ARGV[2] life of a doorbell's mark in milliseconds, then seven for
-- each entry: slot, outcome key, fingerprint (64 hex digits), request id, flags, body, and the
-- slots that a wide request spends from, separated by commas (empty for nearly all).
--
-- A wide entry is written into the stream of its slot alone, and under the same id a barrier into
-- the stream of every other partition of its slots: anyone who comes to it there waits until the
-- entry was applied. Barriers come first: one without its entry would hold up nobody.
--
-- A producer whose account may neither trim nor look into streams (deploy/valkey/users.acl) does
-- without: XTRIM and XINFO are refused then, and workers make the room.
--
-- Answers {'OK', {partitions whose doorbell must be rung}, {one result for each entry}}, where a
-- result is 'A<entry id>' accepted, 'D<value>' sent before, 'C<value>' the key belongs to another
-- request, 'F' the log is full (it and all after it were not accepted).
-- Answers {'NOT_INSTALLED'} when there is no log here, {'STRANGE', what} when somebody wrote past
-- this script what only a worker can repair; entries before the one in hand may be accepted then.
local state = redis.call('HMGET', KEYS[1], 'partitions', 'entries_max', 'clock', 'decided')
local partitions, entries_max = tonumber(state[1]), tonumber(state[2])
if not partitions or not entries_max or partitions < 1 then
  return {'NOT_INSTALLED'}
end
local prefix = ARGV[1]

local ARGUMENTS = 7
local LARGE_BYTES = 65536
local USUAL_BYTES = 1024
local POINTER_SECONDS = 3600 -- or until its outcome, which says how long from then on
local NONE = {}

-- One clock for all partitions, never going back: entry ids are a total order of acceptance.
local ms, counter = read_clock(KEYS[2], state[3])
if not ms then
  return {'STRANGE', 'its clock'}
end
if ms < server_ms then
  ms, counter = server_ms, -1
end

local lengths, rung, bells, results = {}, {}, {}, {}
local full, entry_id, last_id = false, nil, nil

local function keep_clock()
  if last_id then
    redis.call('SET', KEYS[2], last_id)
  end
end

local function tick()
  counter = counter + 1
  if counter > COUNTER_MAX then
    ms, counter = ms + 1, 0
  end
  entry_id = string.format('%.0f-%.0f', ms, counter)
end

-- What was applied may go before its time when new entries need the room. Returns how many went.
local function make_room(partition)
  local cursor = redis.pcall('HGET', prefix .. 'cursors', partition)
  if type(cursor) ~= 'string' then
    return 0
  end
  local cursor_ms, cursor_counter = parts_of(cursor)
  if not cursor_ms then
    return 0
  end
  local first_kept = string.format('%.0f-%.0f', cursor_ms, cursor_counter + 1)
  redis.pcall('XTRIM', prefix .. 'large:' .. partition, 'MINID', first_kept)
  local gone = redis.pcall('XTRIM', prefix .. 'log:' .. partition, 'MINID', first_kept)
  return type(gone) == 'number' and gone or 0
end

-- more: how many others are to have room there first.
local function has_room(partition, more)
  local stream = prefix .. 'log:' .. partition
  local length = lengths[partition] or redis.call('XLEN', stream)
  if length + more >= entries_max then
    make_room(partition)
    length = redis.call('XLEN', stream)
  end
  lengths[partition] = length
  return length + more < entries_max
end

-- The partitions of a wide request beside its home.
local function others_of(slots, home)
  local seen, others = {[home] = true}, {}
  for slot in string.gmatch(slots, '%d+') do
    local partition = tonumber(slot) % partitions
    if not seen[partition] then
      seen[partition] = true
      others[#others + 1] = partition
    end
  end
  return others
end

-- Somebody wrote into the stream past this script: the clock goes on behind that entry, unless
-- that lies in a future that must not become everybody's present. Returns whether it could.
local function overtake(partition)
  local about = redis.pcall('XINFO', 'STREAM', prefix .. 'log:' .. partition)
  for at = 1, about.err and 0 or #about, 2 do
    if about[at] == 'last-generated-id' then
      local newest_ms, newest_counter = parts_of(about[at + 1])
      if not newest_ms or newest_ms > latest_ms(state[3]) then
        return false
      end
      if not is_behind(newest_ms, newest_counter, ms, counter) then
        ms, counter = newest_ms, newest_counter
        tick()
      end
    end
  end
  return true
end

-- Where the entry whose arguments begin at i goes: its home, and the others of a wide request.
local function places_of(i)
  local home = tonumber(ARGV[i]) % partitions
  return home, ARGV[i + 6] == '' and NONE or others_of(ARGV[i + 6], home)
end

local function have_room(home, others, more)
  if not has_room(home, more) then
    return false
  end
  for _, other in ipairs(others) do
    if not has_room(other, 0) then
      return false
    end
  end
  return true
end

-- Whether there is room for the entry whose arguments begin at i, which lies in the same partition
-- as the one before it, and for that one, too.
local function follows(i)
  if not ARGV[i] then
    return true
  end
  local home, others = places_of(i)
  return have_room(home, others, 1)
end

local function failed(added, words)
  return type(added) == 'table' and added.err
    and (not words or string.find(added.err, words, 1, true))
end

-- Write the entry whose arguments begin at i, barriers first. Returns the first failure.
local function write(i, home, others)
  for _, other in ipairs(others) do
    local added = redis.pcall('XADD', prefix .. 'log:' .. other, entry_id,
      'i', ARGV[i + 3], 'k', '', 'c', 'b', 'b', home)
    if failed(added) then
      return added
    end
  end
  return redis.pcall('XADD', prefix .. 'log:' .. home, entry_id,
    'i', ARGV[i + 3], 'k', ARGV[i + 1], 'c', ARGV[i + 4], 'b', ARGV[i + 5])
end

-- Applied entries that must go for those from i on, when the server's memory is at its bound.
local function worth(i)
  local entries = 0
  for at = i, #ARGV, ARGUMENTS do
    entries = entries + 1 + math.floor(#ARGV[at + 5] / USUAL_BYTES)
    if ARGV[at + 6] ~= '' then
      entries = entries + partitions
    end
  end
  return entries
end

local function ring(partition)
  if not rung[partition] then
    rung[partition] = true
    if redis.call('SET', prefix .. 'bell:' .. partition, '1', 'NX', 'PX', ARGV[2]) then
      bells[#bells + 1] = partition
    end
  end
end

-- Whether a request is still queued, by the mark that it left (Q, or P with a pointer under its
-- id): a position between what is decided and the clock. Producers may write marks, so one that
-- says anything else says nothing: of a reference that was used the journal knows.
local function is_queued(mark)
  local at_ms, at_counter = parts_of(string.match(mark, '^%x+[QP]%S+ %d+ (%d+%-%d+)$'))
  if not at_ms or not string.find(mark, '^[QP]', 65)
    or is_behind(ms, counter, at_ms, at_counter) then
    return false
  end
  local decided_ms, decided_counter = parts_of(state[4])
  return not decided_ms or is_behind(decided_ms, decided_counter, at_ms, at_counter)
end

-- Whether the entry that a mark names was applied: the log has lost the outcome with its end. (Or it
-- is deferred; then what is due is accepted once more, to no effect.)
local function is_stale(mark)
  local home, at = string.match(mark, ' (%d+) (%d+%-%d+)$')
  local cursor_ms, cursor_counter = parts_of(redis.call('HGET', prefix .. 'cursors', home))
  if not cursor_ms then
    return false
  end
  local at_ms, at_counter = parts_of(at)
  return not is_behind(cursor_ms, cursor_counter, at_ms, at_counter)
end

-- What is known of a key: the outcome, which workers write, and the mark of what is queued.
local function known_of(key)
  local found = redis.call('MGET', prefix .. 'outcome:' .. key, prefix .. 'queued:' .. key)
  local outcome, mark = found[1], found[2]
  return outcome and string.sub(outcome, 65, 72) == 'R{"id":"' and outcome or nil,
    mark and is_queued(mark) and mark or nil
end

-- The same for an entry with flags. d: one of the sweeper, since Postgres says that it is due; r: an
-- operator has it tried again. What is recorded is older then, or changed nothing, and what a
-- stranger left says nothing; but neither is accepted twice.
local function known_despite(flags, fingerprint, outcome, mark)
  local is_due = string.find(flags, 'd', 1, true)
  if not is_due and not string.find(flags, 'r', 1, true) then
    return outcome or mark
  end
  if mark and string.sub(mark, 1, 64) == fingerprint and not (is_due and is_stale(mark)) then
    return mark
  end
  local is_own = outcome and string.sub(outcome, 1, 64) == fingerprint
  if is_due then
    return is_own and string.find(outcome, '"status":"REJECTED"', 65, true) and outcome or nil
  end
  if is_own and string.find(outcome, '"reason":"quarantined"', 65, true) then
    return nil
  end
  return outcome or mark
end

for i = 3, #ARGV, ARGUMENTS do
  local fingerprint = ARGV[i + 2]
  local outcome, mark = known_of(ARGV[i + 1])
  local known = outcome or mark
  if known and ARGV[i + 4] ~= '' then
    known = known_despite(ARGV[i + 4], fingerprint, outcome, mark)
  end
  if known then
    local same = string.sub(known, 1, 64) == fingerprint
    results[#results + 1] = (same and 'D' or 'C') .. known
  else
    local home, others = places_of(i)
    full = full or not have_room(home, others, 0)
      or string.find(ARGV[i + 4], 'f', 1, true) and not follows(i + ARGUMENTS)
    if not full then
      tick()
      local added = write(i, home, others)
      if failed(added, 'equal or smaller') then
        local overtaken = overtake(home)
        for _, other in ipairs(others) do
          overtaken = overtaken and overtake(other)
        end
        added = overtaken and write(i, home, others) or added
        if failed(added, 'equal or smaller') then
          keep_clock()
          return {'STRANGE', 'the newest entry of partition ' .. home .. ', or another that it needs'}
        end
      end
      if failed(added) then
        if not failed(added, 'OOM') then
          keep_clock()
          return added
        end
        -- The server's memory is at its bound: only as much may come as goes.
        local gone = 0
        for other = 0, partitions - 1 do
          gone = gone + make_room(other)
        end
        full = gone < worth(i)
        if not full then
          added = write(i, home, others)
          if failed(added) then
            keep_clock()
            return added
          end
        end
      end
    end
    if full then
      results[#results + 1] = 'F'
    else
      last_id = entry_id
      if #ARGV[i + 5] > LARGE_BYTES then
        redis.pcall('XADD', prefix .. 'large:' .. home, entry_id, 'n', #ARGV[i + 5])
      end
      if string.find(ARGV[i + 4], 'r', 1, true) then
        -- It is open again. An operator may say so; a producer has no right to.
        redis.pcall('DEL', prefix .. 'outcome:' .. ARGV[i + 1])
      end
      local by_id = string.find(ARGV[i + 4], 'i', 1, true)
      redis.call('SET', prefix .. 'queued:' .. ARGV[i + 1],
        fingerprint .. (by_id and 'P' or 'Q') .. ARGV[i + 3] .. ' ' .. home .. ' ' .. last_id)
      if by_id then
        -- Anyone who reads it compares the id with what it points to: producers may write it.
        redis.call('SET', prefix .. 'queued:i:' .. ARGV[i + 3], '@' .. ARGV[i + 1],
          'NX', 'EX', POINTER_SECONDS)
      end
      results[#results + 1] = 'A' .. last_id
      lengths[home] = lengths[home] + 1
      ring(home)
      for _, other in ipairs(others) do
        lengths[other] = lengths[other] + 1
        ring(other)
      end
    end
  end
end
keep_clock()
return {'OK', bells, results}
