local known = redis.call('HMGET', KEYS[1], 'partitions', 'epoch')
local is_strange = not string.match(known[1] or '1', '^[1-9]%d*$')
  or not string.match(known[2] or '1', '^[1-9]%d*$')
if ARGV[5] == '1' or is_strange then
  redis.call('DEL', KEYS[1])
end
redis.call('HSET', KEYS[1], 'entries_max', ARGV[2])
if redis.call('HSETNX', KEYS[1], 'partitions', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[3], 'epoch:' .. ARGV[3], ARGV[1] .. ' ' .. ARGV[4])
end
if ARGV[6] ~= '' then
  redis.call('HSET', KEYS[1], 'installation', ARGV[6])
end
return 1
