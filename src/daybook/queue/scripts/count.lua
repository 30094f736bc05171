local start, total, last = ARGV[1], 0, false
local marks = redis.call('XRANGE', KEYS[2], start, '+', 'COUNT', ARGV[2])
for at = 1, #marks + 1 do
  local mark = marks[at] and marks[at][1]
  local wanted = tonumber(ARGV[2]) - total
  local stop = mark and '(' .. mark or '+'
  local entries = redis.pcall('XRANGE', KEYS[1], start, stop, 'COUNT', wanted)
  total = total + #entries
  last = #entries > 0 and entries[#entries][1] or last
  if entries.err or #entries == wanted then
    break
  end
  if mark then
    local is_there = #redis.call('XRANGE', KEYS[1], mark, mark) == 1
    start, total = '(' .. mark, total + (is_there and 1 or 0)
    last = is_there and mark or last
  end
end
return {total, last}
