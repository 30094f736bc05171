"""The request log: one stream per partition, and one clock for all of them.

Every key shares the hash tag ``{<namespace>}``, so that a script stays one atomic step on a
cluster too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import redis
import structlog

from daybook.ledger.transaction import POSITION_COUNTER_BITS
from daybook.queue.connect import not_installed, translated_faults
from daybook.queue.entries import (
    COUNTER_MAX,
    NewEntry,
    RawEntry,
    entry_id_of,
    position_of,
)
from daybook.queue.epochs import FIRST_EPOCH, Epochs, partitions_at

log = structlog.get_logger()

BELL_LIFE_MS = 1_000
"""How long a doorbell counts as rung: a lost one is rung again by the next append after that."""

READ_SLICE = 512
"""Entries per read call, so that a batch's bytes are bounded whatever the size of its entries.

Larger ones than 64 KiB are marked by the append in a stream beside, and read alone.
"""

AHEAD_MS_MAX = 60_000
"""How far ahead of the server's clock an entry may be that was written past the script."""

_MS_DIGITS = 13
_LONG_ID = 21
"""Ids of this length and more may have a counter that no position has room for."""

_SHOWN_BYTES = 200

ANEW_ENTRIES_MAX = 50_000
"""Longest stream that is made anew to be rid of an entry; of a longer one the id stays reserved."""

COUNT_SLICE = 5_000
COUNT_SLICES_MAX = 400
"""Bounds of counting unread entries: 2,000,000 at most."""

FIND_SLICE = 500
FIND_SLICES_MAX = 400
"""Bounds of looking for an unread entry by its id: 200,000 entries, so many at a time."""

_APPEND = files("daybook.queue").joinpath("append.lua").read_text(encoding="utf-8")
_REPLY = files("daybook.queue").joinpath("reply.lua").read_text(encoding="utf-8")
_COUNT = """
local start, total, last = ARGV[1], 0, false
local marks = redis.call('XRANGE', KEYS[2], start, '+', 'COUNT', ARGV[2])
for at = 1, #marks + 1 do
  local mark = marks[at] and marks[at][1]
  local wanted = tonumber(ARGV[2]) - total
  local entries = redis.call('XRANGE', KEYS[1], start, mark and '(' .. mark or '+', 'COUNT', wanted)
  total = total + #entries
  last = #entries > 0 and entries[#entries][1] or last
  if #entries == wanted then
    break
  end
  if mark then
    start, total, last = '(' .. mark, total + 1, mark
  end
end
return {total, last}
"""
"""Counts without touching entries that are large."""
_FIND = """
local found = redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[2])
for _, entry in ipairs(found) do
  local id, key
  for at = 1, #entry[2], 2 do
    if entry[2][at] == 'i' then id = entry[2][at + 1] end
    if entry[2][at] == 'k' then key = entry[2][at + 1] end
  end
  if id == ARGV[3] and key and key ~= '' then
    return {key, ''}
  end
end
return {'', #found > 0 and found[#found][1] or ''}
"""
"""The key of the entry with an id, or where to look on."""
_FIRST = """
local found = {}
for at, stream in ipairs(KEYS) do
  local entries = redis.call('XRANGE', stream, ARGV[at], '+', 'COUNT', 1)
  found[at] = entries[1] and entries[1][1] or false
end
return found
"""
"""Ids alone: a first entry may be large."""
_INSTALL = """
if ARGV[5] == '1' then
  redis.call('DEL', KEYS[1])
end
redis.call('HSET', KEYS[1], 'entries_max', ARGV[2])
if redis.call('HSETNX', KEYS[1], 'partitions', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[3], 'epoch:' .. ARGV[3], ARGV[1] .. ' ' .. ARGV[4])
end
return 1
"""
"""A log that is there keeps its number: only a resize changes what entries are routed by."""
_TAKE_OUT = """
redis.call('XDEL', KEYS[1], ARGV[1])
if redis.call('XLEN', KEYS[1]) > tonumber(ARGV[2]) then
  return 0
end
redis.call('DEL', KEYS[2])
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do
  redis.call('XADD', KEYS[2], entry[1], unpack(entry[2]))
end
redis.call('DEL', KEYS[1])
if redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('RENAME', KEYS[2], KEYS[1])
end
return 1
"""
"""Made anew without the entry, so that what comes next need not have a larger id."""
_FORWARD = """
local clock = redis.call('GET', KEYS[1])
if clock then
  local ms, counter = string.match(clock, '^(%d+)-(%d+)$')
  local wanted_ms, wanted_counter = string.match(ARGV[1], '^(%d+)-(%d+)$')
  ms, counter = tonumber(ms), tonumber(counter)
  wanted_ms, wanted_counter = tonumber(wanted_ms), tonumber(wanted_counter)
  if ms > wanted_ms or (ms == wanted_ms and counter >= wanted_counter) then
    return 0
  end
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of one entry of an append.

    state: ``accepted``, ``duplicate``, ``conflict`` or ``full``.
    position: of an accepted entry. value: what stands under the outcome key of the other two.
    """

    state: str
    position: int | None = None
    value: str | None = None


_STATES = {"A": "accepted", "D": "duplicate", "C": "conflict", "F": "full"}


class Keys:
    """The names of the log's keys in one namespace."""

    def __init__(self, namespace: str) -> None:
        self.prefix = f"{{{namespace}}}:"
        self.state = f"{self.prefix}state"
        self.clock = f"{self.prefix}clock"
        self.cursors = f"{self.prefix}cursors"
        self.replied = f"{self.prefix}replied"
        self.told = f"{self.prefix}told"
        self.workers = f"{self.prefix}workers"
        self.asked = f"{self.prefix}asked"

    def log(self, partition: int) -> str:
        """The stream of a partition."""
        return f"{self.prefix}log:{partition}"

    def large(self, partition: int) -> str:
        """The stream of marks: the id and the bytes of each large entry of a partition."""
        return f"{self.prefix}large:{partition}"

    def bell(self, partition: int) -> str:
        """The mark that says a partition's doorbell has been rung."""
        return f"{self.prefix}bell:{partition}"

    def worker(self, name: str) -> str:
        """What a worker says of itself."""
        return f"{self.prefix}worker:{name}"

    def answer(self, answer_id: str) -> str:
        """Where a worker leaves what a dry run has shown."""
        return f"{self.prefix}answer:{answer_id}"

    def outcome(self, key: str) -> str:
        """Where the outcome of a request is found."""
        return f"{self.prefix}outcome:{key}"


def append_arguments(keys: Keys, entries: Sequence[NewEntry]) -> tuple[list[str], list[Any]]:
    """KEYS and ARGV of the append script."""
    arguments: list[Any] = [keys.prefix, BELL_LIFE_MS]
    for entry in entries:
        arguments += (
            entry.slot,
            entry.key,
            entry.fingerprint.hex(),
            entry.request_id,
            entry.flags,
            entry.body,
            ",".join(map(str, entry.slots)) if entry.slots else "",
        )
    return [keys.state, keys.clock], arguments


def read_append_reply(reply: list[Any]) -> tuple[list[Appended], list[int]]:
    """Results for each entry, and the partitions to ring. Raises LogNotInstalled."""
    if reply[0] == b"NOT_INSTALLED":
        raise not_installed()
    results = []
    for item in reply[2]:
        state, text = _STATES[chr(item[0])], item[1:].decode()
        if state == "accepted":
            results.append(Appended(state, position=position_of(text)))
        else:
            results.append(Appended(state, value=text or None))
    return results, [int(partition) for partition in reply[1]]


APPEND_SCRIPT = _APPEND


class Log:
    """The log as seen by one process. All positions are integers (see ``entries``)."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self.client: Any = client
        self.keys = Keys(namespace)
        self._append = client.register_script(_APPEND)
        self._reply = client.register_script(_REPLY)
        self._count = client.register_script(_COUNT)
        self._find = client.register_script(_FIND)
        self._first = client.register_script(_FIRST)
        self._forward = client.register_script(_FORWARD)
        self._take_out = client.register_script(_TAKE_OUT)
        self._install = client.register_script(_INSTALL)
        self.epochs = Epochs(client, self.keys.state, self.keys.clock)

    # --- installation ---

    def install(
        self,
        partitions: int,
        entries_max: int,
        clock: int,
        epoch: int = FIRST_EPOCH,
        *,
        anew: bool = False,
    ) -> None:
        """Make the log known to this server, with a clock not behind ``clock`` (a position).

        partitions, epoch: as Postgres has them; a log that is there keeps its own. anew: not even
        then, it has no entries.
        """
        self.forward_clock(clock)
        arguments: list[Any] = [partitions, entries_max, epoch, entry_id_of(clock), int(anew)]
        with translated_faults():
            self._install(keys=[self.keys.state], args=arguments)

    def partitions(self) -> int:
        """How many partitions the log has. Raises LogNotInstalled."""
        with translated_faults():
            found = self.client.hget(self.keys.state, "partitions")
        if found is None:
            raise not_installed()
        return int(found)

    def end_of(self, epoch: int) -> int:
        """The last position that is routed as in this epoch. Raises LogUnavailable."""
        return self.epochs.end_of(epoch)

    def partitions_at(self, position: int) -> int:
        """How many partitions there were when ``position`` was accepted. Raises LogNotInstalled."""
        with translated_faults():
            return partitions_at(self.client.hgetall(self.keys.state), position)

    def forward_clock(self, position: int) -> None:
        """Make sure that new entries come after ``position``."""
        with translated_faults():
            self._forward(keys=[self.keys.clock], args=[entry_id_of(position)])

    def clock(self) -> int:
        """The position of the newest entry of any partition; 0 before the first."""
        with translated_faults():
            found = self.client.get(self.keys.clock)
        return position_of(found) if found else 0

    def now_ms(self) -> int:
        """The server's time in milliseconds since the epoch."""
        with translated_faults():
            seconds, micros = self.client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    # --- producers ---

    def append(self, entries: Sequence[NewEntry]) -> tuple[list[Appended], list[int]]:
        """Append ``entries`` in order, atomically; also answers which partitions to ring.

        Raises LogNotInstalled, LogFull (out of memory), LogUnavailable.
        """
        keys, arguments = append_arguments(self.keys, entries)
        with translated_faults():
            reply = self._append(keys=keys, args=arguments)
        return read_append_reply(reply)

    def outcomes(self, keys: Sequence[str]) -> list[bytes | None]:
        """What stands under each outcome key."""
        if not keys:
            return []
        with translated_faults():
            found: list[bytes | None] = self.client.mget([self.keys.outcome(key) for key in keys])
        return found

    def body_at(self, partition: int, position: int) -> bytes | None:
        """The body of the entry at ``position``; None when it was trimmed."""
        entry_id = entry_id_of(position)
        with translated_faults():
            found = self.client.xrange(self.keys.log(partition), entry_id, entry_id)
        return found[0][1].get(b"b") if found else None

    def entry_at(self, partition: int, position: int) -> RawEntry | None:
        """The entry at ``position``; None when it was trimmed. Nothing is marked as read."""
        entry_id = entry_id_of(position)
        with translated_faults():
            found = self.client.xrange(self.keys.log(partition), entry_id, entry_id)
        return _raw_entry(*found[0]) if found else None

    def take_answer(self, answer_id: str) -> bytes | None:
        """What a dry run has shown, once; None while no worker has answered."""
        with translated_faults():
            found: bytes | None = self.client.getdel(self.keys.answer(answer_id))
        return found

    # --- workers ---

    def leave_answer(self, answer_id: str, answer: str, life_seconds: int) -> None:
        """Leave what a dry run has shown for who asked for it."""
        with translated_faults():
            self.client.set(self.keys.answer(answer_id), answer, ex=life_seconds)

    def read(self, partition: int, after: int, count: int, bytes_max: int) -> list[RawEntry]:
        """The next unread entries, at most ``count`` and about ``bytes_max`` bytes of bodies.

        The doorbell's mark is taken down first: what is appended later rings again.
        """
        entries: list[RawEntry] = []
        size, start, stream = 0, after, self.keys.log(partition)
        latest = str(int(time.time() * 1000) + AHEAD_MS_MAX).encode()
        with translated_faults():
            marks = self._take_bell(partition, after, count)
            while len(entries) < count and size < bytes_max:
                marks = [mark for mark in marks if mark[0] > start]
                end = _slice_end(marks, bytes_max - size)
                wanted = min(READ_SLICE, count - len(entries))
                found = self.client.xrange(
                    stream,
                    f"({entry_id_of(start)}",
                    "+" if end is None else entry_id_of(end),
                    count=wanted,
                )
                known = len(entries)
                entries += [
                    _raw_entry(entry_id, fields)
                    for entry_id, fields in found
                    if (
                        len(entry_id) < _LONG_ID
                        and entry_id[:_MS_DIGITS] <= latest
                        and entry_id[_MS_DIGITS:].startswith(b"-")
                    )
                    or self._is_lawful(partition, entry_id, fields)
                ]
                size += sum(len(entry.body) for entry in entries[known:])
                if len(found) == wanted:
                    start = entries[-1].position if entries else start
                elif end is None:
                    break
                else:
                    start = end
        return entries

    def _is_lawful(self, partition: int, entry_id: bytes, fields: dict[bytes, bytes]) -> bool:
        """Whether the log can have given this id; else the entry is taken out.

        Somebody wrote it into the stream by hand: no position stands for it, or one in a future
        that would become everybody's present. Nobody was told that it is accepted.
        """
        milliseconds, _, counter = entry_id.decode().partition("-")
        if int(counter) <= COUNTER_MAX and len(milliseconds) <= _MS_DIGITS:
            latest = max(self.now_ms() + AHEAD_MS_MAX, self.clock() >> POSITION_COUNTER_BITS)
            if int(milliseconds) <= latest:
                return True
        body = fields.get(b"b", b"")[:_SHOWN_BYTES]
        log.error("entry.unlawful_id", partition=partition, entry_id=entry_id.decode(), body=body)
        stream = self.keys.log(partition)
        self._take_out(keys=[stream, f"{stream}:anew"], args=[entry_id, ANEW_ENTRIES_MAX])
        return False

    def _take_bell(self, partition: int, after: int, count: int) -> list[tuple[int, int]]:
        """Take down the doorbell's mark; the next large entries: position and bytes of each."""
        pipeline = self.client.pipeline(transaction=False)
        pipeline.delete(self.keys.bell(partition))
        pipeline.xrange(self.keys.large(partition), f"({entry_id_of(after)}", "+", count=count)
        return [
            (position_of(entry_id), int(fields[b"n"])) for entry_id, fields in pipeline.execute()[1]
        ]

    def first_unread(self, cursors: Mapping[int, int]) -> dict[int, int]:
        """The position of the first unread entry of each partition that has one.

        cursors: position of the last entry read, by partition.
        """
        streams = [self.keys.log(partition) for partition in cursors]
        starts = [f"({entry_id_of(cursor)}" for cursor in cursors.values()]
        with translated_faults():
            found = self._first(keys=streams, args=starts) if streams else []
        return {
            partition: position_of(entry_id)
            for partition, entry_id in zip(cursors, found, strict=True)
            if entry_id is not None
        }

    def count_unread(self, partition: int, after: int) -> int:
        """How many entries of ``partition`` come after the position ``after``."""
        total, start = 0, entry_id_of(after)
        with translated_faults():
            for _ in range(COUNT_SLICES_MAX):
                found, last = self._count(
                    keys=[self.keys.log(partition), self.keys.large(partition)],
                    args=[f"({start}", COUNT_SLICE],
                )
                total += found
                if found < COUNT_SLICE:
                    break
                start = last.decode()
        return total

    def unread_key(self, partition: int, after: int, request_id: str) -> str | None:
        """The outcome key of an entry behind ``after``; None when it is not among the next ones."""
        start = entry_id_of(after)
        with translated_faults():
            for _ in range(FIND_SLICES_MAX):
                key, last = self._find(
                    keys=[self.keys.log(partition)], args=[f"({start}", FIND_SLICE, request_id]
                )
                if key or not last:
                    return key.decode(errors="replace") or None
                start = last.decode()
        return None

    def replied_batches(self) -> dict[int, int]:
        """Number of the last batch whose outcomes were written, of each partition with one."""
        with translated_faults():
            found = self.client.hgetall(self.keys.replied)
        return {int(partition): int(batch) for partition, batch in found.items()}

    def told_sequences(self) -> dict[int, int]:
        """Up to which sequence the outcomes of each partition were written."""
        with translated_faults():
            found = self.client.hgetall(self.keys.told)
        return {int(partition): int(sequence) for partition, sequence in found.items()}

    def cursor_marks(self) -> dict[int, int]:
        """The cursors as the log knows them, by partition: what may be trimmed for room."""
        with translated_faults():
            found = self.client.hgetall(self.keys.cursors)
        return {int(partition): position_of(entry_id) for partition, entry_id in found.items()}

    def set_back(self, partition: int, cursor: int) -> None:
        """Make the log's marks of a partition those of a database that was restored."""
        with translated_faults():
            pipeline = self.client.pipeline(transaction=True)
            pipeline.hset(self.keys.cursors, str(partition), entry_id_of(cursor))
            pipeline.hdel(self.keys.replied, str(partition))
            pipeline.hdel(self.keys.told, str(partition))
            pipeline.execute()

    def forget_marks(self, partition: int) -> None:
        """Take down the marks of a partition that the database does not have."""
        with translated_faults():
            pipeline = self.client.pipeline(transaction=True)
            pipeline.hdel(self.keys.cursors, str(partition))
            pipeline.hdel(self.keys.replied, str(partition))
            pipeline.hdel(self.keys.told, str(partition))
            pipeline.execute()

    def reply(
        self,
        partition: int,
        batch: int,
        cursor: int,
        records: tuple[int, int],
        outcomes: Sequence[tuple[str, str]],
        retention_seconds: int,
    ) -> list[tuple[str, bytes]]:
        """Write outcomes (key, value) of a committed batch, and that it has been replied to.

        records: the sequences behind which, and up to which, these are the outcomes. Answers who
        asked for them by a Celery message: key and askers (see ``asked``).
        """
        arguments: list[Any] = [
            self.keys.prefix,
            partition,
            batch,
            entry_id_of(cursor),
            *records,
            retention_seconds,
        ]
        for pair in outcomes:
            arguments += pair
        with translated_faults():
            _, found = self._reply(keys=[self.keys.state], args=arguments)
        return [(key.decode(), askers) for key, askers in zip(found[::2], found[1::2], strict=True)]

    def trim(self, partition: int, before: int) -> int:
        """Drop entries before the position ``before``; answers how many went.

        The caller sees to it that they were applied.
        """
        with translated_faults():
            # Marks first: none outlives its entry.
            minimum = entry_id_of(before)
            pipeline = self.client.pipeline(transaction=True)
            pipeline.xtrim(self.keys.large(partition), minid=minimum, approximate=False)
            pipeline.xtrim(self.keys.log(partition), minid=minimum, approximate=True)
            return int(pipeline.execute()[1])


def _slice_end(marks: Sequence[tuple[int, int]], bytes_left: int) -> int | None:
    """Up to where to read, so that large entries bring ``bytes_left`` at most, or one of them.

    None: there are no more of them than that.
    """
    for number, (_, size) in enumerate(marks):
        bytes_left -= size
        if bytes_left < 0:
            return marks[max(0, number - 1)][0]
    return None


def _raw_entry(entry_id: bytes, fields: dict[bytes, bytes]) -> RawEntry:
    get = fields.get
    return RawEntry(
        position_of(entry_id),
        get(b"i", b"").decode(errors="replace"),
        get(b"k", b"").decode(errors="replace"),
        get(b"c", b"").decode(errors="replace"),
        get(b"b", b""),
    )
