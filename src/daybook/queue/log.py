"""The request log: one stream per partition, and one clock for all of them.

Every key shares the hash tag ``{<namespace>}``, so that a script stays one atomic step on a
cluster too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import redis

from daybook.errors import LogNotInstalled, LogRefused
from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.queue.connect import not_installed, translated_faults
from daybook.queue.entries import (
    POSITION_LIMIT,
    NewEntry,
    RawEntry,
    entry_id_of,
    position_of,
)
from daybook.queue.epochs import FIRST_EPOCH, Epochs
from daybook.queue.keys import Keys
from daybook.queue.mending import Mender
from daybook.queue.parsing import (
    mark_in,
    numbers_in,
    position_in,
    position_or_zero,
    positions_in,
    state_in,
)
from daybook.queue.scripts import (
    APPEND_SCRIPT,
    COUNT_SCRIPT,
    FIND_SCRIPT,
    FIRST_SCRIPT,
    FORWARD_SCRIPT,
    INSTALL_SCRIPT,
    REPLY_SCRIPT,
)
from daybook.queue.wire import (
    Appended,
    Call,
    ReplyT,
    append_arguments,
    check_owner,
    installation_call,
    outcomes_call,
    read_append_reply,
)

READ_SLICE = 512
"""Entries per read call, so that a batch's bytes are bounded whatever the size of its entries.

Larger ones than 64 KiB are marked by the append in a stream beside, and read alone.
"""

AHEAD_MS_MAX = 60_000
"""How far ahead of the server's clock an entry may be that was written past the script."""

CATCH_UP_MS_MAX = 1_000
"""How far ahead of what workers vouch for, when the server's clock has been put back."""

GREATEST_ID = b"18446744073709551615-18446744073709551615"

_MS_DIGITS = 13

_LONG_ID = 21
"""Ids of this length and more may have a counter that no position has room for."""

COUNT_SLICE = 5_000

COUNT_SLICES_MAX = 400
"""Bounds of counting unread entries: 2,000,000 at most."""

FIND_SLICE = 500

FIND_ENTRIES_MAX = 200_000
"""Bounds of a search for an unread entry by its id: so many entries, so many at a time."""

FIND_BYTES = 4 << 20
"""So many bytes of large entries, or one that is larger, are looked through at a time: the server
does nothing else meanwhile."""


class Log:
    """The log as seen by one process. All positions are integers (see ``entries``).

    installation_id: of the database whose log it must be; None: it is not known.
    """

    def __init__(
        self, client: redis.Redis, namespace: str, installation_id: str | None = None
    ) -> None:
        self.client: Any = client
        self.installation_id = installation_id
        self.keys = Keys(namespace)
        self._append = client.register_script(APPEND_SCRIPT)
        self._reply = client.register_script(REPLY_SCRIPT)
        self._count = client.register_script(COUNT_SCRIPT)
        self._find = client.register_script(FIND_SCRIPT)
        self._first = client.register_script(FIRST_SCRIPT)
        self._forward = client.register_script(FORWARD_SCRIPT)
        self._install = client.register_script(INSTALL_SCRIPT)
        self.epochs = Epochs(client, self.keys.state, self.keys.clock)
        self.mender = Mender(client, self.keys)

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
        then, it has no entries. Raises LogRefused for the log of another installation.
        """
        if not anew:
            self.check_installation()
        self.forward_clock(clock)
        own = self.installation_id or ""
        arguments: list[Any] = [partitions, entries_max, epoch, entry_id_of(clock), int(anew), own]
        with translated_faults():
            self._install(keys=[self.keys.state], args=arguments)
        self.forward_clock(clock)  # again: what it vouches for went with the state
        self.load_scripts()

    def check_installation(self) -> None:
        """Raises LogRefused when this is the log of another installation than the database's."""
        check_owner(self.call(installation_call(self.keys)), self.installation_id)

    def _claim(self) -> None:
        """Say whose log it is, where nothing says so. Raises LogRefused for another's."""
        if self.installation_id is None:
            return
        found = self.call(installation_call(self.keys))
        if found is None:
            with translated_faults():
                if self.client.hexists(self.keys.state, "partitions"):
                    self.client.hsetnx(self.keys.state, "installation", self.installation_id)
            found = self.call(installation_call(self.keys))
        check_owner(found, self.installation_id)

    def load_scripts(self) -> None:
        """Put the append script on the server: producers may have no right to."""
        with translated_faults():
            self.client.script_load(APPEND_SCRIPT)

    def partitions(self) -> int:
        """How many partitions the log has.

        Raises LogNotInstalled, also for a state that can't be read: a sweep makes it anew.
        """
        with translated_faults():
            found = state_in(self.keys.state, self.client.hgetall(self.keys.state))
        if found is None:
            raise not_installed()
        return found.partitions

    def end_of(self, epoch: int) -> int:
        """The last position that is routed as in this epoch. Raises LogUnavailable."""
        return self.epochs.end_of(epoch)

    def forward_clock(self, position: int) -> None:
        """Make sure that new entries come after ``position``."""
        with translated_faults():
            self._forward(keys=[self.keys.state, self.keys.clock], args=[entry_id_of(position)])

    def clock(self) -> int:
        """The position of the newest entry of any partition; 0 before the first.

        0 also where something else stands: producers may write it.
        """
        with translated_faults():
            found = self.client.get(self.keys.clock)
        return position_or_zero(self.keys.clock, found)

    def front(self) -> int:
        """A position that no later entry lies behind, at or before the newest as a rule.

        Not the clock alone, which somebody may have put ahead: an append gives no id before the
        server's time, nor before what workers vouched for.
        """
        with translated_faults():
            pipeline = self.client.pipeline(transaction=False)
            pipeline.time()
            pipeline.hget(self.keys.state, "clock")
            pipeline.get(self.keys.clock)
            (seconds, micros), vouched, clock = pipeline.execute()
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        sure = (now_ms << POSITION_COUNTER_BITS) - 1
        if vouched is not None:
            sure = max(sure, position_in(f"{self.keys.state} clock", vouched) or 0)
        newest = position_in(self.keys.clock, clock)
        return sure if newest is None else min(sure, newest)

    def vouch_decided(self, position: int) -> None:
        """Say that everything accepted at or before ``position`` is decided.

        What is said to be queued there is not: producers may write such marks.
        """
        self.mender.vouch_decided(position)

    def mend(self, partitions: int, newest: int, present: int) -> int:
        """Repair what somebody wrote past the scripts; returns the position of the newest entry.

        partitions: as many as Postgres knows; the log may have more. newest: position that Postgres
        knows of; present: where the clock goes on when it is behind that. Raises LogRefused for the
        log of another installation.
        """
        self._claim()
        with suppress(LogNotInstalled, LogRefused):
            partitions = max(partitions, self.partitions())
        return self.mender.mend(partitions, newest, present).clock

    def now_ms(self) -> int:
        """The server's time in milliseconds since the epoch."""
        with translated_faults():
            seconds, micros = self.client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    # --- producers ---

    def append(self, entries: Sequence[NewEntry]) -> tuple[list[Appended], list[int]]:
        """Append ``entries`` in order, atomically; also returns which partitions to ring.

        Raises LogNotInstalled, LogFull (out of memory), LogUnavailable.
        """
        keys, arguments = append_arguments(self.keys, entries)
        with translated_faults():
            reply = self._append(keys=keys, args=arguments)
        return read_append_reply(reply)

    def call(self, call: Call[ReplyT]) -> ReplyT:
        """What the reply to one command means. Raises LogUnavailable, and what it says itself."""
        with translated_faults():
            return call.read(self.client.execute_command(*call.command))

    def outcomes(self, keys: Sequence[str]) -> list[bytes | None]:
        """What is known of each key: its outcome, or that it is queued."""
        return self.call(outcomes_call(self.keys, keys)) if keys else []

    def entry_at(self, partition: int, position: int) -> RawEntry | None:
        """The entry at ``position``; None when it was trimmed. Nothing is marked as read."""
        entry_id = entry_id_of(position)
        with translated_faults():
            found = self.client.xrange(self.keys.log(partition), entry_id, entry_id)
        return _raw_entry(*found[0]) if found else None

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
        with translated_faults():
            marks, latest = self._take_bell(partition, after, count)
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
                for entry_id, fields in found:
                    if (
                        len(entry_id) >= _LONG_ID
                        or entry_id[:_MS_DIGITS] > latest
                        or not entry_id.startswith(b"-", _MS_DIGITS)
                    ) and not self._is_lawful(entry_id, latest):
                        self.mender.put_right(partition, entry_id, fields, int(latest))
                        return entries
                    entries.append(_raw_entry(entry_id, fields))
                size += sum(len(entry.body) for entry in entries[known:])
                if len(found) == wanted:
                    start = entries[-1].position
                elif end is None:
                    break
                else:
                    start = end
        return entries

    def _is_lawful(self, entry_id: bytes, latest: bytes) -> bool:
        """Whether the log can have given this id.

        Else somebody wrote it into the stream by hand: no position stands for it, or one in a
        future that would become everybody's present.
        """
        position = position_in(self.keys.prefix + "log", entry_id)
        return position is not None and position >> POSITION_COUNTER_BITS <= int(latest)

    def _take_bell(
        self, partition: int, after: int, count: int
    ) -> tuple[list[tuple[int, int]], bytes]:
        """Take down the doorbell's mark; what comes next of the partition.

        That is position and bytes of each large entry, and the latest millisecond that an entry can
        have: the server's time may have been put back since workers vouched for the clock. Raises
        LogRefused for the log of another installation.
        """
        pipeline = self.client.pipeline(transaction=False)
        pipeline.delete(self.keys.bell(partition))
        pipeline.xrange(self.keys.large(partition), f"({entry_id_of(after)}", "+", count=count)
        pipeline.time()
        pipeline.hmget(self.keys.state, "clock", "installation")
        _, found, (seconds, micros), (vouched, owner) = pipeline.execute()
        check_owner(owner, self.installation_id)
        latest_ms = int(seconds) * 1000 + int(micros) // 1000 + AHEAD_MS_MAX
        if vouched is not None:
            newest = position_in(f"{self.keys.state} clock", vouched) or 0
            latest_ms = max(latest_ms, (newest >> POSITION_COUNTER_BITS) + CATCH_UP_MS_MAX)
        marks = [mark_in(self.keys.large(partition), *each) for each in found]
        return [mark for mark in marks if mark is not None], str(latest_ms).encode()

    def first_unread(self, cursors: Mapping[int, int]) -> dict[int, int]:
        """The position of the first unread entry of each partition that has one.

        cursors: position of the last entry read, by partition.
        """
        streams = [self.keys.log(partition) for partition in cursors]
        starts = [f"({entry_id_of(cursor)}" for cursor in cursors.values()]
        with translated_faults():
            found = self._first(keys=streams, args=starts) if streams else []
        return {
            partition: _position_or_latest(self.keys.log(partition), entry_id)
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
                if found < COUNT_SLICE or last == GREATEST_ID:
                    break
                start = last.decode()
        return total

    def unread_key(self, partition: int, after: int, request_id: str) -> str | None:
        """The outcome key of an entry behind ``after``; None when it is not among the next ones."""
        keys = [self.keys.log(partition), self.keys.large(partition)]
        start, left = f"({entry_id_of(after)}", FIND_ENTRIES_MAX
        while left > 0 and start != f"({GREATEST_ID.decode()}":
            with translated_faults():
                key, last, looked_through = self._find(
                    keys=keys, args=[start, FIND_SLICE, FIND_BYTES, request_id]
                )
            if key or not last:
                return key.decode(errors="replace") or None
            start, left = last.decode(), left - max(1, looked_through)
        return None

    def replied_batches(self) -> dict[int, int]:
        """Number of the last batch whose outcomes were written, of each partition with one."""
        with translated_faults():
            return numbers_in(self.keys.replied, self.client.hgetall(self.keys.replied))

    def told_sequences(self) -> dict[int, int]:
        """Up to which sequence the outcomes of each partition were written."""
        with translated_faults():
            return numbers_in(self.keys.told, self.client.hgetall(self.keys.told))

    def cursor_marks(self) -> dict[int, int]:
        """The cursors as the log knows them, by partition: what may be trimmed for room."""
        with translated_faults():
            return positions_in(self.keys.cursors, self.client.hgetall(self.keys.cursors))

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

        records: the sequences behind which, and up to which, these are the outcomes. Returns who
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
        """Drop entries before the position ``before``; returns how many went.

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


def _position_or_latest(key: str, entry_id: bytes) -> int:
    """The position of an entry; of one that the log can't have given, behind all others."""
    position = position_in(key, entry_id)
    return POSITION_LIMIT - 1 if position is None else position


def _raw_entry(entry_id: bytes, fields: dict[bytes, bytes]) -> RawEntry:
    get = fields.get
    return RawEntry(
        position_of(entry_id),
        get(b"i", b"").decode(errors="replace"),
        get(b"k", b"").decode(errors="replace"),
        get(b"c", b"").decode(errors="replace"),
        get(b"b", b""),
    )
