"""The request log in memory: what ``daybook.queue.log.Log`` and its scripts do, step for step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from daybook.apply.ports import Log
from daybook.errors import LogNotInstalled
from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.queue.entries import (
    BARRIER,
    BY_ID,
    COUNTER_MAX,
    DUE,
    FOLLOWED,
    RETRY,
    NewEntry,
    RawEntry,
    entry_id_of,
    position_of,
    read_value,
)
from daybook.queue.epochs import FIRST_EPOCH, NO_END, NOTHING, Epoch, older_than_database
from daybook.queue.keys import Keys
from daybook.queue.wire import BELL_LIFE_MS, Appended, Call, ReplyT, outcomes_call

Touch = Callable[[str], None]
"""Called before and after each call: others may take their turn there, or the call may fail."""


@dataclass
class State:
    """Everything that the server keeps."""

    partitions: int | None = None
    epoch: int = FIRST_EPOCH
    epochs: dict[int, Epoch] = field(default_factory=dict)
    entries_max: int = 0
    clock: int = 0
    streams: dict[int, list[RawEntry]] = field(default_factory=dict)
    bells: dict[int, int] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)
    cursors: dict[int, int] = field(default_factory=dict)
    replied: dict[int, int] = field(default_factory=dict)
    told: dict[int, int] = field(default_factory=dict)
    queued: dict[str, str] = field(default_factory=dict)
    decided: int = -1

    def copy(self) -> State:
        """A state of its own, for later."""
        return replace(
            self,
            epochs=dict(self.epochs),
            streams={at: list(entries) for at, entries in self.streams.items()},
            bells=dict(self.bells),
            outcomes=dict(self.outcomes),
            cursors=dict(self.cursors),
            replied=dict(self.replied),
            told=dict(self.told),
            queued=dict(self.queued),
        )


class MemoryEpochs:
    """The epochs of a log in memory, with the interface of ``Epochs``."""

    def __init__(self, log: MemoryLog, touch: Touch) -> None:
        self._log = log
        self._touch = touch

    def newest(self) -> int:
        self._touch("newest")
        return self._log.state.epoch

    def after(self, number: int) -> Epoch | None:
        self._touch("after")
        later = [epoch for epoch in self._log.state.epochs.values() if epoch.number > number]
        return min(later, default=None)

    def since(self, number: int) -> list[Epoch]:
        self._touch("since")
        return sorted(epoch for epoch in self._log.state.epochs.values() if epoch.number >= number)

    def end_of(self, number: int) -> int:
        newest = self.newest()
        if newest == number:
            return NO_END
        following = self.after(number) if newest > number else None
        return NOTHING if following is None else following.fence

    def begin(self, partitions: int, stored: int = FIRST_EPOCH, newest: int = 0) -> Epoch:
        self._touch("begin")
        state = self._log.state
        before = self._log.installed()
        if state.epoch < stored or state.clock < newest:
            raise older_than_database()
        if before != partitions:
            state.clock = max(state.clock, self._log.now_ms() << POSITION_COUNTER_BITS)
            state.epochs.setdefault(state.epoch, Epoch(state.epoch, before, 0))
            self._add(Epoch(state.epoch + 1, partitions, state.clock))
        begun = state.epochs.get(state.epoch, Epoch(state.epoch, partitions, 0))
        self._touch("begin")
        return begun

    def catch_up(self, number: int, partitions: int, fence: int, newest: int) -> bool:
        self._touch("catch_up")
        state = self._log.state
        if state.partitions is None or state.epoch >= number:
            return False
        if state.partitions == partitions:
            self._add(Epoch(number, partitions, fence))
        else:
            between = Epoch(number + 1, state.partitions, max(fence, newest))
            state.epochs[between.number] = between
            self._add(Epoch(number + 2, partitions, state.clock))
        self._touch("catch_up")
        return True

    def _add(self, epoch: Epoch) -> None:
        state = self._log.state
        state.epochs[epoch.number] = epoch
        state.epoch, state.partitions = epoch.number, epoch.partitions


class MemoryLog:
    """A log with the interface of ``Log``.

    time_ms: the server's time. accepted: every entry that was ever accepted, by position. lost:
    those of them that the server has lost before they were applied; a worker may have read them.
    """

    def __init__(self, time_ms: Callable[[], int], touch: Touch) -> None:
        self.keys = Keys("simulation")
        self.state = State()
        self.accepted: dict[int, NewEntry] = {}
        self.lost: dict[int, NewEntry] = {}
        self.epochs = MemoryEpochs(self, touch)
        self._time_ms = time_ms
        self._touch = touch

    # --- installation ---

    def install(self, partitions: int, entries_max: int, clock: int, epoch: int = 1) -> None:
        self.forward_clock(clock)
        self._touch("install")
        self.state.entries_max = entries_max
        if self.state.partitions is None:
            self.state.partitions, self.state.epoch = partitions, epoch
            self.state.epochs[epoch] = Epoch(epoch, partitions, clock)

    def end_of(self, epoch: int) -> int:
        return self.epochs.end_of(epoch)

    def partitions(self) -> int:
        self._touch("partitions")
        return self.installed()

    def installed(self) -> int:
        """How many partitions there are, for anyone who looks from inside."""
        if self.state.partitions is None:
            raise LogNotInstalled("this server holds no request log")
        return self.state.partitions

    def forward_clock(self, position: int) -> None:
        self._touch("forward_clock")
        self.state.clock = max(self.state.clock, position)

    def clock(self) -> int:
        self._touch("clock")
        return self.state.clock

    def front(self) -> int:
        self._touch("front")
        return self.state.clock

    def load_scripts(self) -> None:
        self._touch("load_scripts")

    def vouch_decided(self, position: int) -> None:
        self._touch("vouch_decided")
        self.state.decided = position

    def mend(self, partitions: int, newest: int, present: int) -> int:
        """Nobody writes past the scripts here; the clock is set right."""
        del partitions
        self._touch("mend")
        if self.state.clock < newest:
            self.state.clock = max(self.state.clock, present)
        return self.state.clock

    def now_ms(self) -> int:
        self._touch("now_ms")
        return self._time_ms()

    # --- producers ---

    def append(self, entries: Sequence[NewEntry]) -> tuple[list[Appended], list[int]]:
        self._touch("append")
        partitions = self.installed()
        results: list[Appended] = []
        bells: dict[int, None] = {}
        is_full = False
        for index, entry in enumerate(entries):
            known = self._known(entry)
            if known is not None:
                same = known.startswith(entry.fingerprint.hex())
                results.append(Appended("duplicate" if same else "conflict", value=known))
                continue
            home, places = entry.slot % partitions, self._places(entry)
            is_full = is_full or not all(self._has_room(place) for place in places)
            if not is_full and FOLLOWED in entry.flags:
                following = entries[index + 1]
                beside = {place: place == home for place in self._places(following)}
                is_full = not all(self._has_room(*one) for one in beside.items())
            if is_full:
                results.append(Appended("full"))
                continue
            position = self._tick()
            self._write(entry, position, home, places)
            results.append(Appended("accepted", position=position))
            for place in places:
                if self._ring(place):
                    bells[place] = None
        self._touch("append")
        return results, list(bells)

    def _known(self, entry: NewEntry) -> str | None:
        outcome, mark = self.state.outcomes.get(entry.key), self._queued(entry.key)
        if not {DUE, RETRY} & set(entry.flags):
            return outcome or mark
        own = entry.fingerprint.hex()
        if mark and mark.startswith(own) and not (DUE in entry.flags and self._is_stale(mark)):
            return mark
        is_own = outcome is not None and outcome.startswith(own)
        if DUE in entry.flags:
            return outcome if is_own and '"status":"REJECTED"' in (outcome or "") else None
        if is_own and '"reason":"quarantined"' in (outcome or ""):
            return None
        return outcome or mark

    def _queued(self, key: str) -> str | None:
        """The mark of what is queued, where it can be true."""
        mark = self.state.queued.get(key)
        if mark is None or not self.state.decided < (read_value(mark).position or 0):
            return None
        return mark

    def _is_stale(self, mark: str) -> bool:
        state = read_value(mark)
        return (state.position or 0) <= self.state.cursors.get(state.partition or 0, -1)

    def _places(self, entry: NewEntry) -> dict[int, None]:
        """Its home, and the other partitions of a wide request."""
        return dict.fromkeys(slot % self.installed() for slot in (entry.slot, *entry.slots))

    def _has_room(self, partition: int, beside: int = 0) -> bool:
        stream = self.state.streams.setdefault(partition, [])
        if len(stream) + beside >= self.state.entries_max and partition in self.state.cursors:
            cursor = self.state.cursors[partition]
            stream[:] = [raw for raw in stream if raw.position > cursor]
        return len(stream) + beside < self.state.entries_max

    def _tick(self) -> int:
        """The next position: by the server's time, and never behind one that was given."""
        now = self._time_ms()
        last_ms, counter = divmod(self.state.clock, 1 << POSITION_COUNTER_BITS)
        if now > last_ms:
            self.state.clock = now << POSITION_COUNTER_BITS
        elif counter >= COUNTER_MAX:
            self.state.clock = (last_ms + 1) << POSITION_COUNTER_BITS
        else:
            self.state.clock += 1
        return self.state.clock

    def _write(self, entry: NewEntry, position: int, home: int, places: Mapping[int, None]) -> None:
        for place in places:
            raw = RawEntry(position, entry.request_id, entry.key, entry.flags, entry.body)
            if place != home:
                raw = RawEntry(position, entry.request_id, "", BARRIER, str(home).encode())
            self.state.streams.setdefault(place, []).append(raw)
        self.accepted[position] = entry
        if RETRY in entry.flags:
            self.state.outcomes.pop(entry.key, None)
        fingerprint, own = entry.fingerprint.hex(), entry.request_id
        kind = "P" if BY_ID in entry.flags else "Q"
        self.state.queued[entry.key] = f"{fingerprint}{kind}{own} {home} {entry_id_of(position)}"

    def _ring(self, partition: int) -> bool:
        if self.state.bells.get(partition, 0) > self._time_ms():
            return False
        self.state.bells[partition] = self._time_ms() + BELL_LIFE_MS
        return True

    def call(self, call: Call[ReplyT]) -> ReplyT:
        """What a client learns by one command, of those that clients send."""
        command, *arguments = call.command
        self._touch(str(command))
        server: dict[Any, Callable[..., Any]] = {
            "MGET": lambda *names: [self._value_at(name) for name in names],
            "HGETALL": lambda _: self._hash(),
            "HGET": lambda _, name: self._hash().get(name.encode()),
            "XRANGE": self._entries_from,
        }
        return call.read(server[command](*arguments))

    def outcomes(self, keys: Sequence[str]) -> list[bytes | None]:
        return self.call(outcomes_call(self.keys, keys)) if keys else []

    def _value_at(self, name: str) -> bytes | None:
        kind, _, key = name.removeprefix(self.keys.prefix).partition(":")
        value = {"outcome": self.state.outcomes, "queued": self.state.queued}[kind].get(key)
        return None if value is None else value.encode()

    def _hash(self) -> dict[bytes, bytes]:
        """The log's state as the server has it, for those who look from outside."""
        fields = {
            "partitions": f"{self.installed()}",
            "entries_max": f"{self.state.entries_max}",
            "epoch": f"{self.state.epoch}",
            "decided": entry_id_of(max(0, self.state.decided)),
            **{
                f"epoch:{each.number}": f"{each.partitions} {entry_id_of(each.fence)}"
                for each in self.state.epochs.values()
            },
        }
        return {name.encode(): value.encode() for name, value in fields.items()}

    def _entries_from(
        self, stream: str, first: str, last: str
    ) -> list[tuple[bytes, dict[bytes, bytes]]]:
        partition = int(stream.rpartition(":")[2])
        return [
            (
                entry_id_of(raw.position).encode(),
                {b"i": raw.request_id.encode(), b"b": raw.body},
            )
            for raw in self.state.streams.get(partition, [])
            if position_of(first) <= raw.position <= position_of(last)
        ]

    # --- workers ---

    def read(self, partition: int, after: int, count: int, bytes_max: int) -> list[RawEntry]:
        self._touch("read")
        self.state.bells.pop(partition, None)
        found: list[RawEntry] = []
        size = 0
        for raw in self.state.streams.get(partition, []):
            if raw.position > after:
                if len(found) >= count or size >= bytes_max:
                    break
                found.append(raw)
                size += len(raw.body)
        return found

    def first_unread(self, cursors: Mapping[int, int]) -> dict[int, int]:
        self._touch("first_unread")
        return self.first_behind(cursors)

    def first_behind(self, cursors: Mapping[int, int]) -> dict[int, int]:
        """``first_unread``, for anyone who looks from outside."""
        found = {
            partition: next(
                (r.position for r in self.state.streams.get(partition, []) if r.position > cursor),
                None,
            )
            for partition, cursor in cursors.items()
        }
        return {
            partition: position for partition, position in found.items() if position is not None
        }

    def count_unread(self, partition: int, after: int) -> int:
        self._touch("count_unread")
        return sum(raw.position > after for raw in self.state.streams.get(partition, []))

    def unread_key(self, partition: int, after: int, request_id: str) -> str | None:
        self._touch("unread_key")
        unread = (raw for raw in self.state.streams.get(partition, []) if raw.position > after)
        return next((raw.key for raw in unread if raw.request_id == request_id and raw.key), None)

    def replied_batches(self) -> dict[int, int]:
        self._touch("replied_batches")
        return dict(self.state.replied)

    def told_sequences(self) -> dict[int, int]:
        self._touch("told_sequences")
        return dict(self.state.told)

    def cursor_marks(self) -> dict[int, int]:
        self._touch("cursor_marks")
        return dict(self.state.cursors)

    def set_back(self, partition: int, cursor: int) -> None:
        self._touch("set_back")
        self.state.cursors[partition] = cursor
        self.state.replied.pop(partition, None)
        self.state.told.pop(partition, None)

    def forget_marks(self, partition: int) -> None:
        self._touch("forget_marks")
        for marks in (self.state.cursors, self.state.replied, self.state.told):
            marks.pop(partition, None)

    def reply(
        self,
        partition: int,
        batch: int,
        cursor: int,
        records: tuple[int, int],
        outcomes: Sequence[tuple[str, str]],
        retention_seconds: int,
    ) -> list[tuple[str, bytes]]:
        del retention_seconds  # that is another fault: outcomes lost
        self._touch("reply")
        is_late = batch < self.state.replied.get(partition, -1)
        for key, value in outcomes:
            known = self.state.outcomes.get(key, "")
            if not is_late or known[64:65] != "R":
                self.state.outcomes[key] = value
                self.state.queued.pop(key, None)
        if not is_late:
            self.state.cursors[partition] = cursor
            if self.state.told.get(partition, 0) >= records[0]:
                self.state.replied[partition] = batch
                self.state.told[partition] = records[1]
        self._touch("reply")
        return []

    def trim(self, partition: int, before: int) -> int:
        self._touch("trim")
        stream = self.state.streams.get(partition, [])
        kept = [raw for raw in stream if raw.position >= before]
        gone = len(stream) - len(kept)
        self.state.streams[partition] = kept
        return gone

    # --- what happens to the server ---

    def come_back(self, state: State, cursors: Mapping[int, int]) -> None:
        """The server has lost what was written since ``state``.

        cursors: what lies behind them was applied; what else was accepted since then is lost.
        """
        kept = {raw.position for stream in state.streams.values() for raw in stream}
        for partition, stream in self.state.streams.items():
            for raw in stream:
                if (
                    raw.key
                    and raw.position > cursors.get(partition, 0)
                    and raw.position not in kept
                    and raw.position in self.accepted
                ):
                    self.lost[raw.position] = self.accepted.pop(raw.position)
        self.state = state


AS_LOG: Callable[..., Log] = MemoryLog
"""For the type checker: it is one, and so are its epochs."""
