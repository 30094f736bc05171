local found = {}
for at, stream in ipairs(KEYS) do
  local entries = redis.call('XRANGE', stream, ARGV[at], '+', 'COUNT', 1)
  found[at] = entries[1] and entries[1][1] or false
end
return found
