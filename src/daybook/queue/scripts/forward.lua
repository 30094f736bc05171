local vouched = redis.call('HGET', KEYS[1], 'clock')
local ms, counter = read_clock(KEYS[2], vouched)
local wanted_ms, wanted_counter = parts_of(ARGV[1])
if not ms or is_behind(ms, counter, wanted_ms, wanted_counter) then
  ms, counter = wanted_ms, wanted_counter
  local vouched_ms, vouched_counter = parts_of(vouched)
  if vouched_ms and is_behind(ms, counter, vouched_ms, vouched_counter) then
    ms, counter = vouched_ms, vouched_counter
  end
end
local clock = string.format('%.0f-%.0f', ms, counter)
redis.call('SET', KEYS[2], clock)
redis.call('HSET', KEYS[1], 'clock', clock)
return 1
