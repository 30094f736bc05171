local state = redis.call('HMGET', KEYS[1], 'partitions', 'epoch')
if not state[1] then
  return false
end
local epoch = tonumber(state[2] or '1')
local ms, counter = read_clock(KEYS[2], redis.call('HGET', KEYS[1], 'clock'))
if not ms then
  return -1
end
local known_ms, known_counter = parts_of(ARGV[3])
if epoch < tonumber(ARGV[2]) or is_behind(ms, counter, known_ms, known_counter) then
  return 0
end
if state[1] ~= ARGV[1] then
  if ms < server_ms then
    ms, counter = server_ms, 0
    redis.call('SET', KEYS[2], string.format('%.0f-%.0f', ms, counter))
  end
  redis.call('HSETNX', KEYS[1], 'epoch:' .. epoch, state[1] .. ' 0-0')
  epoch = epoch + 1
  redis.call('HSET', KEYS[1], 'partitions', ARGV[1], 'epoch', epoch,
    'epoch:' .. epoch, ARGV[1] .. ' ' .. string.format('%.0f-%.0f', ms, counter))
end
return epoch
