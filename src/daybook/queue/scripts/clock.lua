-- What the scripts share, put before each of them: the log's clock, and which ids it can have given.
--
-- Producers may write the clock, so it is believed only as far as it can be right: workers vouch for
-- it in the state, which producers can't write, and nothing runs far ahead of the server's time.
local COUNTER_MAX = 1048575
local AHEAD_MS_MAX = 60000
local CATCH_UP_MS_MAX = 1000
local now = redis.call('TIME')
local server_ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)

-- Milliseconds and counter of an id that stands for a position; nil of anything else.
local function parts_of(id)
  local ms, counter = string.match(type(id) == 'string' and id or '', '^(%d+)-(%d+)$')
  if ms and #ms <= 13 and #counter <= 7 and tonumber(counter) <= COUNTER_MAX then
    return tonumber(ms), tonumber(counter)
  end
end

local function is_behind(ms, counter, other_ms, other_counter)
  return ms < other_ms or (ms == other_ms and counter < other_counter)
end

-- The latest millisecond that an entry can have: the server's clock may have been put back since
-- workers vouched, and goes on from there.
local function latest_ms(vouched)
  return math.max(server_ms + AHEAD_MS_MAX, (parts_of(vouched) or 0) + CATCH_UP_MS_MAX)
end

-- Milliseconds and counter of the log's clock, never behind what workers vouch for; nil when what
-- stands there can't be the clock.
local function read_clock(key, vouched)
  local ms, counter = parts_of(redis.pcall('GET', key))
  if not ms or ms > latest_ms(vouched) then
    return nil
  end
  local vouched_ms, vouched_counter = parts_of(vouched)
  if vouched_ms and is_behind(ms, counter, vouched_ms, vouched_counter) then
    return vouched_ms, vouched_counter
  end
  return ms, counter
end
