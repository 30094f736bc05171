local state = redis.call('HMGET', KEYS[1], 'partitions', 'epoch')
local epoch = tonumber(ARGV[1])
if not state[1] or tonumber(state[2] or '1') >= epoch then
  return 0
end
if state[1] ~= ARGV[2] then
  local ms, counter = read_clock(KEYS[2], redis.call('HGET', KEYS[1], 'clock'))
  if not ms then
    return -1
  end
  redis.call('HSET', KEYS[1], 'epoch:' .. (epoch + 1), state[1] .. ' ' .. ARGV[4])
  epoch = epoch + 2
  redis.call('HSET', KEYS[1], 'epoch:' .. epoch,
    ARGV[2] .. ' ' .. string.format('%.0f-%.0f', ms, counter))
else
  redis.call('HSET', KEYS[1], 'epoch:' .. epoch, ARGV[2] .. ' ' .. ARGV[3])
end
redis.call('HSET', KEYS[1], 'partitions', ARGV[2], 'epoch', epoch)
return 1
