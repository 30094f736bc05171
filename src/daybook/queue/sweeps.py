"""What the sweeper says of itself in Redis: when it ended last, and which of its steps fail.

It is how ``daybook health`` knows that beat rings, that a worker takes its sweeps, and that what
they do succeeds. No account of a producer may write it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from daybook.errors import LogRefused
from daybook.queue.connect import translated_faults
from daybook.queue.log import Log

ERROR_LENGTH_MAX = 300
"""Characters of a fault that are kept: its first line says what it is."""

_FAULT = b"fault:"

_NOTE = """#!lua flags=allow-oom
local key = KEYS[1]
if redis.call('TYPE', key)['ok'] ~= 'hash' then
  redis.call('DEL', key)
end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local before, said = {}, redis.call('HGETALL', key)
for at = 1, #said, 2 do
  before[said[at]] = said[at + 1]
end
redis.call('DEL', key)
redis.call('HSET', key, 'ended', now, 'completed', #ARGV == 0 and now or before['completed'] or '')
for at = 1, #ARGV, 2 do
  local field = 'fault:' .. ARGV[at]
  local since, times = string.match(before[field] or '', '^(%d+) (%d+) ')
  redis.call('HSET', key, field,
    (since or now) .. ' ' .. string.format('%.0f', tonumber(times or 0) + 1) .. ' ' .. ARGV[at + 1])
end
return 1
"""
"""KEYS: the sign. ARGV: each step that failed, and why. A full server must let it be known, too."""


class StepFault(NamedTuple):
    """A step that fails. since_ms: the server's time of the first of ``times`` in a row."""

    step: str
    error: str
    since_ms: int
    times: int


class SweepSign(NamedTuple):
    """What is known of the last sweep, in milliseconds of the server's clock.

    now_ms: when it was asked. ended_ms: when the last one ended; None before the first.
    completed_ms: when the last one ended in which no step failed. faults: of the last one.
    """

    now_ms: int
    ended_ms: int | None
    completed_ms: int | None
    faults: tuple[StepFault, ...]


def note_sweep(log: Log, faults: Mapping[str, str]) -> None:
    """Say that a sweep has ended. faults: why, of each step that failed. Raises LogUnavailable."""
    arguments: list[str] = []
    for step, error in faults.items():
        arguments += (step, " ".join(error.split())[:ERROR_LENGTH_MAX])
    with translated_faults():
        log.client.eval(_NOTE, 1, _key(log), *arguments)


def last_sweep(log: Log) -> SweepSign:
    """What the last sweep said of itself; what does not parse is left out.

    Raises LogUnavailable.
    """
    try:
        with translated_faults():
            said: dict[bytes, bytes] = log.client.hgetall(_key(log))
    except LogRefused:  # somebody else's value stands there
        said = {}
    read = [_fault(name, text) for name, text in sorted(said.items()) if name.startswith(_FAULT)]
    faults = tuple(fault for fault in read if fault is not None)
    return SweepSign(log.now_ms(), _moment(said, b"ended"), _moment(said, b"completed"), faults)


def _key(log: Log) -> str:
    return f"{log.keys.prefix}sweep"


def _moment(said: Mapping[bytes, Any], name: bytes) -> int | None:
    text = said.get(name, b"")
    return int(text) if text.isdigit() else None


def _fault(name: bytes, text: bytes) -> StepFault | None:
    since, _, rest = text.partition(b" ")
    times, _, error = rest.partition(b" ")
    if not (since.isdigit() and times.isdigit()):
        return None
    step = name.removeprefix(_FAULT).decode(errors="replace")
    return StepFault(step, error.decode(errors="replace"), int(since), int(times))
