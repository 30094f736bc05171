"""Who asked for outcomes by a Celery message: a hash of the log, by outcome key.

The intake writes itself down before it appends, workers look after they have written an outcome:
the one that comes second sees the other. So each message is answered, however many ask for one
request.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import structlog

from daybook.errors import LogFull, LogUnavailable
from daybook.queue.connect import translated_faults
from daybook.queue.log import Log
from daybook.queue.scripts import ADD_SCRIPT, FORGET_SCRIPT

log = structlog.get_logger()

ASKERS_MAX = 1_000
"""Messages that wait for one outcome: of more, the oldest go, first those that want no result."""

KEYS_MAX = 1_000_000
"""Outcomes that are waited for, schedules included: with more, the log is full for the intake.
Messages that want no result leave half of them to others."""

CHANGE_ATTEMPTS_MAX = 100
"""How often a change is tried again because somebody else changed the same."""

SCAN_COUNT = 500

_CHANGED, _FULL = 1, -1
"""What a change comes to: it was made, or there is no room for one more key."""


class Wanted(NamedTuple):
    """An outcome that its entry wants as a Celery result too. fingerprint: hex, of the request.

    at: milliseconds since the epoch when it was accepted.
    """

    key: str
    task_id: str
    at: int
    fingerprint: str


class Asker(NamedTuple):
    """A message that waits for an outcome.

    fingerprint: hex, of the request that it asked for. at: milliseconds since the epoch when it
    claimed the result of its task id. mark: of what it says (see ``worker.answering``); empty when
    it wants no result, and monitors alone are told. duplicate: the request was there already.
    """

    task_id: str
    fingerprint: str
    at: int
    mark: str
    duplicate: bool = False


Change = Callable[[list[Asker]], list[Asker]]
"""Who asks, as it was, and as it is to be."""


class Asked:
    """The hash as seen by one process."""

    def __init__(self, request_log: Log) -> None:
        self._client = request_log.client
        self._name = request_log.keys.asked
        self._add_script = self._client.register_script(ADD_SCRIPT)
        self._forget_script = self._client.register_script(FORGET_SCRIPT)

    def add(self, key: str, asker: Asker) -> None:
        """Write down who asks for the outcome of ``key``.

        Raises LogFull when KEYS_MAX others are waited for (half as many, for one that wants no
        result), or the server has no memory left; LogUnavailable.
        """

        def added(askers: list[Asker]) -> list[Asker]:
            if not asker.mark and any(_is_told_with(asker, one) for one in askers):
                return askers  # who wants the result of this task is told, and so are monitors
            others = [one for one in askers if not _gives_way_to(asker, one)]
            others.append(asker)
            if len(others) > ASKERS_MAX:
                dropped = next((one for one in others if not one.mark), others[0])
                log.warning("asked.too_many", key=key, dropped=dropped.task_id)
                others.remove(dropped)
            return others

        self._change(self._add_script, key, added, KEYS_MAX if asker.mark else KEYS_MAX // 2)

    def remove(self, key: str, asker: Asker) -> None:
        """Forget who asks, and nobody else under its task id. Raises LogUnavailable."""

        def others(askers: list[Asker]) -> list[Asker]:
            return [one for one in askers if not _is_same(asker, one)]

        self._change(self._forget_script, key, others, KEYS_MAX)

    def answered(self, key: str, found: bytes) -> None:
        """Forget those that were answered, unless somebody came meanwhile: the sweeper sees to it.

        found: their text, as it was read.
        """
        with translated_faults():
            self._forget_script(keys=[self._name], args=[key, found, "", KEYS_MAX])

    def everybody(self, cursor: int) -> tuple[int, list[tuple[str, bytes]]]:
        """Some of the keys and who asks for them; and the cursor of the next ones, 0 at the end."""
        with translated_faults():
            following, found = self._client.hscan(self._name, cursor, count=SCAN_COUNT)
        return following, [(key.decode(errors="replace"), askers) for key, askers in found.items()]

    def _change(self, script: Any, key: str, change: Change, keys_max: int) -> None:
        for _ in range(CHANGE_ATTEMPTS_MAX):
            with translated_faults():
                known = self._client.hget(self._name, key) or b""
                wanted = text_of(change(askers_in(known)))
                done = script(keys=[self._name], args=[key, known, wanted, keys_max])
            if done == _CHANGED:
                return
            if done == _FULL:
                raise LogFull(f"{keys_max} outcomes are waited for already: try again later")
        raise LogUnavailable(f"who asks for {key!r} changes all the time: try again")


def _is_same(one: Asker, other: Asker) -> bool:
    """Whether they are one message, or one that says the same."""
    same = (one.task_id, one.mark, one.fingerprint)
    return same == (other.task_id, other.mark, other.fingerprint)


def _is_told_with(asker: Asker, known: Asker) -> bool:
    """Whether an asker hears of its outcome as one hears who is known already."""
    return asker.task_id == known.task_id and asker.fingerprint == known.fingerprint


def _gives_way_to(younger: Asker, known: Asker) -> bool:
    """Whether the younger one stands for a known one: it has claimed the result of its task id, or
    it asks for the same. Who wants no result has none to lose."""
    claims = bool(younger.mark and known.mark) and younger.task_id == known.task_id
    return claims or _is_told_with(younger, known)


def text_of(askers: list[Asker]) -> str:
    """Askers as they are written down; empty for nobody."""
    if not askers:
        return ""
    named = [
        {"id": one.task_id, "fingerprint": one.fingerprint, "at": one.at, "mark": one.mark}
        | ({"duplicate": True} if one.duplicate else {})
        for one in askers
    ]
    return json.dumps(named, separators=(",", ":"))


def askers_in(text: bytes) -> list[Asker]:
    """What was written down. Whatever can't be read is logged and left out."""
    if not text:
        return []
    try:
        return list(_read(json.loads(text)))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        log.exception("asked.unreadable", text=text[:200])
        return []


def _read(found: list[dict[str, Any]]) -> Iterator[Asker]:
    for one in found:
        yield Asker(
            str(one["id"]),
            str(one["fingerprint"]),
            int(one["at"]),
            str(one["mark"]),
            bool(one.get("duplicate")),
        )
