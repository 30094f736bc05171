-- Find what somebody wrote past the scripts, and repair it: for workers only. Behind clock.lua.
--
-- KEYS[1] state of the log (hash), KEYS[2] its clock.
-- ARGV[1] what to do, ARGV[2] prefix of all keys, ARGV[3] number of partitions, then by what to do:
--
-- look: 'repair' or 'look', and two entry ids: the newest that Postgres knows of, and where the clock
--   goes on when it is behind that. Answers {the clock, the latest lawful millisecond, {faults}}, a
--   fault being {kind, key without prefix, its first bytes}. Of repairs the short ones are done here.
-- swap: a stream, the last id that it may have, the last that was copied, its copy, and where the
--   old stream goes ('' for nowhere). Answers 1, or 0 when the stream is not what was copied.
-- readmit: a number. Gives that many entries that were put aside a new id each, in their order.
--   Returns how many.
-- readmit_one: a partition and an id. The same for an entry that stands in the log.
-- decided: an entry id. Workers vouch that everything up to it is decided.
local prefix, partitions = ARGV[2], tonumber(ARGV[3])
local LARGE_BYTES = 65536
local SHOWN_BYTES = 200
local LAST_COUNTER = '18446744073709551615'
local TYPES = {
  {'state', 'hash'}, {'clock', 'string'}, {'cursors', 'hash'}, {'replied', 'hash'},
  {'told', 'hash'}, {'workers', 'set'},
}
for partition = 0, partitions - 1 do
  TYPES[#TYPES + 1] = {'log:' .. partition, 'stream'}
  TYPES[#TYPES + 1] = {'large:' .. partition, 'stream'}
  TYPES[#TYPES + 1] = {'bell:' .. partition, 'string'}
  TYPES[#TYPES + 1] = {'aside:' .. partition, 'stream'}
end

local faults = {}

local function fault(kind, name, shown)
  faults[#faults + 1] = {kind, name, string.sub(shown, 1, SHOWN_BYTES)}
end

local function text_of(ms, counter)
  return string.format('%.0f-%.0f', ms, counter)
end

-- Ids of the first and the last entry in a range; none of what is no stream.
local function first_id(key, start, stop)
  local found = redis.pcall('XRANGE', key, start, stop, 'COUNT', 1)
  return found[1] and found[1][1]
end

local function last_id(key, stop)
  local found = redis.pcall('XREVRANGE', key, stop, '-', 'COUNT', 1)
  return found[1] and found[1][1]
end

-- A key of another type is moved out of the way: what belongs there is made anew.
local function look_at_types(repair)
  for _, wanted in ipairs(TYPES) do
    local key = prefix .. wanted[1]
    local kind = redis.call('TYPE', key).ok
    if kind ~= 'none' and kind ~= wanted[2] then
      fault('type', wanted[1], kind)
      if repair then
        redis.call('RENAME', key, prefix .. 'strange:' .. wanted[1])
      end
    end
  end
end

-- A stream without entries keeps the id of its last: one in the future would stay in the way.
local function look_at_empty(name, clock, repair)
  local key = prefix .. name
  if redis.call('EXISTS', key) == 0 or redis.call('XLEN', key) > 0 then
    return
  end
  local about = redis.call('XINFO', 'STREAM', key)
  for at = 1, #about, 2 do
    if about[at] == 'last-generated-id' then
      local ms, counter = parts_of(about[at + 1])
      local clock_ms, clock_counter = parts_of(clock)
      if not ms or is_behind(clock_ms, clock_counter, ms, counter) then
        fault('last_id', name, about[at + 1])
        if repair then
          redis.call('DEL', key)
        end
      end
    end
  end
end

-- Where the clock must be at least: behind Postgres, what workers vouched for, and all lawful entries.
local function least(vouched, latest)
  local ms, counter = parts_of(ARGV[6])
  local function raise(id)
    local id_ms, id_counter = string.match(type(id) == 'string' and id or '', '^(%d+)-(%d+)$')
    if id_ms then
      id_ms, id_counter = tonumber(id_ms), tonumber(id_counter)
      if id_counter > COUNTER_MAX then
        id_ms, id_counter = id_ms + 1, 0
      end
      if is_behind(ms, counter, id_ms, id_counter) then
        ms, counter = id_ms, id_counter
      end
    end
  end
  raise(vouched)
  for partition = 0, partitions - 1 do
    raise(last_id(prefix .. 'log:' .. partition, latest .. '-' .. LAST_COUNTER))
  end
  return ms, counter
end

local function look(repair)
  look_at_types(repair)
  local vouched = redis.pcall('HGET', KEYS[1], 'clock')
  local latest = string.format('%.0f', latest_ms(vouched))
  local raw = redis.pcall('GET', KEYS[2])
  local ms, counter = read_clock(KEYS[2], vouched)
  local newest_ms, newest_counter = parts_of(ARGV[5])
  if not ms then
    local is_new = raw == false and redis.pcall('HGET', KEYS[1], 'partitions') == false
    fault(is_new and 'clock_behind' or 'clock', 'clock', type(raw) == 'string' and raw or '')
    ms, counter = least(vouched, latest)
  elseif is_behind(ms, counter, newest_ms, newest_counter) then
    fault('clock_behind', 'clock', type(raw) == 'string' and raw or '')
    ms, counter = parts_of(ARGV[6])
  end
  for partition = 0, partitions - 1 do
    local key = prefix .. 'log:' .. partition
    if redis.call('TYPE', key).ok == 'stream' then
      local beyond = first_id(key, '(' .. text_of(ms, counter), '+')
      local beyond_ms = beyond and tonumber(string.match(beyond, '^%d+'))
      if beyond_ms and beyond_ms <= tonumber(latest) then
        ms, counter = least(text_of(ms, counter), latest)
        beyond = first_id(key, '(' .. latest .. '-' .. LAST_COUNTER, '+')
      end
      if beyond then
        fault('future', 'log:' .. partition, beyond)
      end
    end
  end
  local clock = text_of(ms, counter)
  for partition = 0, partitions - 1 do
    local log, large = 'log:' .. partition, 'large:' .. partition
    if redis.call('TYPE', prefix .. log).ok == 'stream' then
      look_at_empty(log, clock, repair)
    end
    if redis.call('TYPE', prefix .. large).ok == 'stream' then
      look_at_empty(large, clock, repair)
      local beyond = first_id(prefix .. large, '(' .. clock, '+')
      if beyond then
        fault('mark', large, beyond)
      end
    end
    if redis.call('TYPE', prefix .. 'aside:' .. partition).ok == 'stream' then
      fault('aside', 'aside:' .. partition, tostring(redis.call('XLEN', prefix .. 'aside:' .. partition)))
    end
    local bell = prefix .. 'bell:' .. partition
    if redis.call('PTTL', bell) == -1 then
      fault('bell', 'bell:' .. partition, 'for ever')
      if repair then
        redis.call('DEL', bell)
      end
    end
  end
  if repair then
    if raw ~= clock then
      redis.call('SET', KEYS[2], clock)
    end
    redis.call('PERSIST', KEYS[2])
    redis.call('HSET', KEYS[1], 'clock', clock)
  end
  return {clock, latest, faults}
end

local function swap(name, stop, copied, copy, aside)
  local key = prefix .. name
  if redis.call('EXISTS', key) == 0 or (last_id(key, stop) or '') ~= copied or (aside ~= '' and redis.call('EXISTS', aside) == 1) then
    return 0
  end
  if aside == '' then
    redis.call('UNLINK', key)
  else
    redis.call('RENAME', key, aside)
    redis.call('XTRIM', aside, 'MINID', string.format('%.0f-0', tonumber(string.match(stop, '^%d+')) + 1))
    if redis.call('XLEN', aside) == 0 then
      redis.call('DEL', aside)
    end
  end
  if redis.call('EXISTS', copy) == 1 then
    redis.call('PERSIST', copy)
    redis.call('RENAME', copy, key)
  end
  return 1
end

local ms, counter

local function tick()
  ms, counter = read_clock(KEYS[2], redis.call('HGET', KEYS[1], 'clock'))
  if ms and ms < server_ms then
    ms, counter = server_ms, -1
  end
  if ms then
    counter = counter + 1
    if counter > COUNTER_MAX then
      ms, counter = ms + 1, 0
    end
    return text_of(ms, counter)
  end
end

-- The fields that mean something; of repeated ones the last, as readers do.
local function fields_of(entry)
  local fields = {i = '', k = '', c = '', b = ''}
  for at = 1, #entry[2], 2 do
    if fields[entry[2][at]] then
      fields[entry[2][at]] = entry[2][at + 1]
    end
  end
  return fields
end

-- Write an entry under a new id. Returns whether it could.
local function readmit(partition, entry, id)
  local fields = fields_of(entry)
  local added = redis.pcall('XADD', prefix .. 'log:' .. partition, id,
    'i', fields.i, 'k', fields.k, 'c', fields.c, 'b', fields.b)
  if type(added) == 'table' then
    return false
  end
  if #fields.b > LARGE_BYTES then
    redis.pcall('XADD', prefix .. 'large:' .. partition, id, 'n', #fields.b)
  end
  local key = prefix .. 'queued:' .. fields.k
  local mark = redis.call('GET', key)
  local tail = ' ' .. partition .. ' ' .. entry[1]
  if mark and string.sub(mark, -#tail) == tail then
    redis.call('SET', key, string.sub(mark, 1, -#tail - 1) .. ' ' .. partition .. ' ' .. id)
  end
  redis.call('SET', KEYS[2], id)
  return true
end

local function is_before(one, other)
  local function padded(id)
    local id_ms, id_counter = string.match(id, '^(%d+)-(%d+)$')
    return string.rep('0', 20 - #id_ms) .. id_ms .. string.rep('0', 20 - #id_counter) .. id_counter
  end
  return padded(one) < padded(other)
end

-- Those with the same id are a request and its barriers: they stay together.
local function readmit_oldest()
  local oldest, found = nil, {}
  for partition = 0, partitions - 1 do
    local entry = redis.call('XRANGE', prefix .. 'aside:' .. partition, '-', '+', 'COUNT', 1)[1]
    if entry then
      found[partition] = entry
      if not oldest or is_before(entry[1], oldest) then
        oldest = entry[1]
      end
    end
  end
  local id = oldest and tick()
  if not id then
    return false
  end
  for partition, entry in pairs(found) do
    if entry[1] == oldest then
      if not readmit(partition, entry, id) then
        return false
      end
      local aside = prefix .. 'aside:' .. partition
      redis.call('XDEL', aside, oldest)
      if redis.call('XLEN', aside) == 0 then
        redis.call('DEL', aside)
      end
    end
  end
  return true
end

if ARGV[1] == 'decided' then
  return redis.call('HSET', KEYS[1], 'decided', ARGV[4])
elseif ARGV[1] == 'look' then
  return look(ARGV[4] == 'repair')
elseif ARGV[1] == 'swap' then
  return swap(ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8])
elseif ARGV[1] == 'readmit' then
  for number = 1, tonumber(ARGV[4]) do
    if not readmit_oldest() then
      return number - 1
    end
  end
  return tonumber(ARGV[4])
end
local stream = prefix .. 'log:' .. ARGV[4]
local entry = redis.call('XRANGE', stream, ARGV[5], ARGV[5])[1]
local id = entry and tick()
if id and readmit(ARGV[4], entry, id) then
  redis.call('XDEL', stream, ARGV[5])
  return 1
end
return 0
