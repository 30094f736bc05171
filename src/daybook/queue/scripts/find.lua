local LARGE_BYTES = 65536
local start, wanted, bytes, last = ARGV[1], tonumber(ARGV[2]), 0, ARGV[1]
local left = wanted
local function key_in(entries)
  for _, entry in ipairs(entries) do
    local id, key
    for at = 1, #entry[2], 2 do
      if entry[2][at] == 'i' then id = entry[2][at + 1] end
      if entry[2][at] == 'k' then key = entry[2][at + 1] end
    end
    if id == ARGV[4] and key and key ~= '' then
      return key
    end
    left, last = left - 1, '(' .. entry[1]
  end
end
local marks = redis.call('XRANGE', KEYS[2], start, '+', 'COUNT', wanted)
for at = 1, #marks do
  local mark = marks[at][1]
  local key = key_in(redis.call('XRANGE', KEYS[1], start, '(' .. mark, 'COUNT', left))
  if key or left == 0 then
    return {key or '', last, wanted - left}
  end
  local size = math.max(tonumber(marks[at][2][2]) or 0, LARGE_BYTES)
  if bytes > 0 and bytes + size > tonumber(ARGV[3]) then
    return {'', last, wanted - left}
  end
  bytes, start, last = bytes + size, '(' .. mark, '(' .. mark
  key = key_in(redis.call('XRANGE', KEYS[1], mark, mark))
  if key or left == 0 then
    return {key or '', last, wanted - left}
  end
end
if #marks == wanted or start == '(18446744073709551615-18446744073709551615' then
  return {'', last, wanted - left}
end
local key = key_in(redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', left))
return {key or '', left == 0 and last or '', wanted - left}
