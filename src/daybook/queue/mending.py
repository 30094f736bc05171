"""Repair of what somebody wrote into Redis past the scripts: by workers, from what they know.

Nothing that may have been accepted is dropped. An entry whose id the log can't have given gets a
new one, behind all others: nobody can tell whether a stranger wrote it, or the server's clock was
put back while no worker ran, and anyone who may write it may ask for the same in the usual way.

Redis does not let a stream forget its last id. So a stream that has one in the future is copied
without it, in slices, while producers are refused there anyway; then the copy takes its place in
one step, if nothing else has changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import uuid4

import redis
import structlog

from daybook.errors import LogFull
from daybook.queue.connect import translated_faults
from daybook.queue.entries import entry_id_of, position_of
from daybook.queue.keys import Keys
from daybook.queue.parsing import (
    number_in,
    position_in,
    shown,
    state_in,
)
from daybook.queue.scripts import MEND_SCRIPT

COPY_SLICE = 500
COPY_BYTES = 4 << 20
"""What is copied in one step at most, about: the server does nothing else meanwhile."""
COPY_SLICES_MAX = 100_000
COPY_LIFE_SECONDS = 3_600
"""A copy that nobody finished is forgotten after that."""

READMIT_SLICE = 200
READMIT_SLICES_MAX = 500
"""Bounds of what gets a new id in one sweep: 100,000 entries. The next goes on."""

_LAST_COUNTER = "18446744073709551615"

_COPY = """
local start, number, bytes, last = ARGV[1], 0, 0, ''
local names = {}
for name in string.gmatch(ARGV[4], '%a') do
  names[#names + 1] = name
end
while number < tonumber(ARGV[5]) and bytes < tonumber(ARGV[6]) do
  local entries = redis.call('XRANGE', KEYS[1], start, ARGV[2], 'COUNT', 10)
  for _, entry in ipairs(entries) do
    local fields, words = {}, {}
    for at = 1, #entry[2], 2 do
      fields[entry[2][at]] = entry[2][at + 1]
      bytes = bytes + #entry[2][at + 1]
    end
    for _, name in ipairs(names) do
      words[#words + 1] = name
      words[#words + 1] = fields[name] or ''
    end
    redis.call('XADD', KEYS[2], entry[1], unpack(words))
    last = entry[1]
  end
  number = number + #entries
  start = '(' .. last
  if #entries < 10 then
    break
  end
end
if number > 0 then
  redis.call('EXPIRE', KEYS[2], ARGV[3])
end
return {number, last}
"""
"""Copies the fields that readers know: a stranger's entry may have more than a script can pass."""

log = structlog.get_logger()


class LogFault(NamedTuple):
    """Something in Redis that Daybook can't have written.

    kind: ``clock``, ``clock_behind``, ``future`` (an entry), ``last_id`` (of an empty stream),
    ``mark`` (of a large entry), ``aside`` (entries that wait for a new id), ``bell``, ``type``,
    ``state``, ``field``. name: the key, without its prefix. shown: its first bytes.
    """

    kind: str
    name: str
    shown: str


class Look(NamedTuple):
    """What a look found. clock: position of the newest entry; latest_ms: the latest lawful time."""

    clock: int
    latest_ms: int
    faults: list[LogFault]


class Mender:
    """Finds and repairs strange things in the keys of one log."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client: Any = client
        self._keys = keys
        self._script = client.register_script(MEND_SCRIPT)
        self._copy = client.register_script(_COPY)

    def look(
        self, partitions: int, newest: int = 0, present: int = 0, *, repair: bool = False
    ) -> Look:
        """What is strange, apart from fields of hashes; what is quickly repaired is, if wanted.

        newest: position that Postgres knows of; present: where the clock goes on when it is behind
        that. Raises LogUnavailable.
        """
        word = "repair" if repair else "look"
        found = self._run("look", partitions, word, entry_id_of(newest), entry_id_of(present))
        clock, latest, faults = found
        named = [LogFault(kind.decode(), name.decode(), shown(raw)) for kind, name, raw in faults]
        return Look(position_of(clock), int(latest), named)

    def mend(self, partitions: int, newest: int = 0, present: int = 0) -> Look:
        """Repair what is strange; returns what was. Raises LogUnavailable."""
        found = self.look(partitions, newest, present, repair=True)
        for fault in found.faults:
            if fault.kind == "clock_behind":
                log.warning("log.clock_forwarded", position=present)
            else:
                log.error("log.mending", **fault._asdict())
        names = {fault.name: fault.kind for fault in found.faults}
        if "aside" in names.values():
            self._readmit(partitions)  # before there is need for the place
        latest = f"{found.latest_ms}-{_LAST_COUNTER}"
        for name, kind in names.items():
            try:
                if kind == "future":
                    self._replace(partitions, name, latest, "ikcb")
                elif kind == "mark":
                    self._replace(partitions, name, entry_id_of(found.clock), "n")
            except LogFull:
                log.warning("log.no_room_to_mend", name=name)  # comes with what is applied
        if "future" in names.values():
            self._readmit(partitions)
        self._drop_strange_fields()
        return found

    def vouch_decided(self, position: int) -> None:
        """See ``Log.vouch_decided``."""
        self._run("decided", 0, entry_id_of(max(0, position)))

    def put_right(
        self, partition: int, entry_id: bytes, fields: dict[bytes, bytes], latest_ms: int
    ) -> None:
        """Give an entry another id, whose own the log can't have given. Raises LogUnavailable."""
        body = shown(fields.get(b"b", b""))
        log.error("entry.unlawful_id", partition=partition, entry_id=entry_id.decode(), body=body)
        with translated_faults():
            state = state_in(self._keys.state, self._client.hgetall(self._keys.state))
        partitions = max(partition + 1, state.partitions if state else 0)
        if int(entry_id.partition(b"-")[0]) > latest_ms:
            self.mend(partitions)
        else:
            self._run("readmit_one", partitions, partition, entry_id)

    def strange_fields(self) -> list[LogFault]:
        """Fields of the log's hashes that can't be read. Raises LogUnavailable."""
        with translated_faults():
            state = self._client.hgetall(self._keys.state)
        faults = [
            LogFault("field", name, shown(field + b" " + value))
            for name, field, value in self._strange_marks()
        ]
        if state and state_in(self._keys.state, state) is None:
            faults.append(LogFault("state", "state", shown(repr(state))))
        return faults

    def _strange_marks(self) -> list[tuple[str, bytes, bytes]]:
        """Key without prefix, field and value of each mark of a partition that can't be read."""
        keys = self._keys
        parsers = {keys.cursors: position_in, keys.replied: number_in, keys.told: number_in}
        with translated_faults():
            pipeline = self._client.pipeline(transaction=False)
            for key in parsers:
                pipeline.hgetall(key)
            found = pipeline.execute()
        return [
            (key.removeprefix(keys.prefix), field, value)
            for (key, parse), fields in zip(parsers.items(), found, strict=True)
            for field, value in fields.items()
            if number_in(key, field) is None or parse(f"{key} {shown(field)}", value) is None
        ]

    def _drop_strange_fields(self) -> None:
        """Take down marks that can't be read: what they should say follows from Postgres."""
        for name, field, value in self._strange_marks():
            log.error("log.mending", kind="field", name=name, shown=shown(field + b" " + value))
            with translated_faults():
                self._client.hdel(self._keys.prefix + name, field)

    def _replace(self, partitions: int, name: str, stop: str, fields: str) -> None:
        """Make a stream anew with what it has up to ``stop``; the rest of a log is put aside."""
        key, copy = self._keys.prefix + name, f"{self._keys.prefix}copy:{uuid4().hex}"
        copied, start = "", "-"
        with translated_faults():
            for _ in range(COPY_SLICES_MAX):
                arguments: Sequence[Any] = [start, stop, COPY_LIFE_SECONDS, fields]
                bounds = [COPY_SLICE, COPY_BYTES]
                number, last = self._copy(keys=[key, copy], args=[*arguments, *bounds])
                copied = last.decode() or copied
                if not number:
                    break
                start = f"({copied}"
        where = self._keys.prefix + name.replace("log:", "aside:") if fields == "ikcb" else ""
        if self._run("swap", partitions, name, stop, copied, copy, where):
            log.warning("log.stream_made_anew", name=name)
        else:
            with translated_faults():
                self._client.unlink(copy)
            log.info("log.stream_changed", name=name)  # the next sweep tries again

    def _readmit(self, partitions: int) -> None:
        """Give new ids to what was put aside."""
        number = READMIT_SLICE
        for _ in range(READMIT_SLICES_MAX):
            if number < READMIT_SLICE:
                break
            number = self._run("readmit", partitions, READMIT_SLICE)
            log.warning("log.readmitted", entries=number)

    def _run(self, what: str, partitions: int, *arguments: Any) -> Any:
        with translated_faults():
            return self._script(
                keys=[self._keys.state, self._keys.clock],
                args=[what, self._keys.prefix, partitions, *arguments],
            )
