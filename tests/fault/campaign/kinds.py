"""What a kind of fault is, and the list of all kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from itertools import combinations
from random import Random
from threading import Barrier, Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fault.campaign.stage import Stage

Act = Callable[["Stage"], None]


class Promise(StrEnum):
    """What a kind leaves untouched, from most to least; all of them keep the oracle."""

    NOTHING_LOST = "nothing lost"
    """Every accepted request comes to its outcome by itself, and its producer is told."""
    SEND_AGAIN = "send again"
    """What was accepted and not applied is gone, or its outcome is not told: who was not told
    sends it again, and it is posted once."""


class Part(StrEnum):
    """What a fault can take away, or what must be there to bring one about."""

    WORKERS = "workers"
    BEAT = "beat"
    BROKER = "broker"
    POSTGRES = "postgres"
    SESSIONS = "sessions"
    """Sessions of PostgreSQL, those of the campaign itself among them."""
    DISK = "disk"
    VALKEY = "valkey"
    LOG = "log"
    """What the log has accepted: a fault that loses it, and one that is mended from it."""
    CLOCK = "clock"
    """The log's clock, and the ids that follow from it."""
    OUTCOMES = "outcomes"
    NUMBER = "number"
    """The number of partitions."""
    SCHEMA = "schema"


ASKS_POSTGRES = frozenset({Part.POSTGRES, Part.SESSIONS})
"""What an act needs that speaks to PostgreSQL while it goes on."""


class Skipped(Exception):  # noqa: N818 - says what became of the kind
    """The kind can't be brought about on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    what: what it does, in a line. act: does it, and ends it, while requests come. prepare: what
    must be there before workers start. trims: applied entries may leave the log early, so what
    was accepted is written down beside it. short: belongs to the few that every test run runs.
    takes: what it ends, stops, fills or replaces. needs: what it needs beside that while it acts.
    """

    name: str
    what: str
    act: Act
    promise: Promise = Promise.NOTHING_LOST
    prepare: Act | None = None
    trims: bool = False
    short: bool = False
    takes: frozenset[Part] = frozenset()
    needs: frozenset[Part] = frozenset()


def go_together(one: Kind, other: Kind) -> bool:
    """Whether two kinds can be brought about at once: neither takes what the other takes or needs.

    So no two stop the same server, none restarts what the other speaks to, and the log is not lost
    while PostgreSQL is to be mended from it: both at once lose what nobody promises to keep.
    """
    return not (one.takes & (other.takes | other.needs) or other.takes & one.needs)


def pair_of(one: Kind, other: Kind) -> Kind:
    """Both at once, with the weaker promise of the two."""
    promises = list(Promise)
    return Kind(
        f"{one.name}+{other.name}",
        f"{one.what}, and {other.what}",
        _together(one.act, other.act),
        promise=max(one.promise, other.promise, key=promises.index),
        prepare=_in_turn(one.prepare, other.prepare),
        trims=one.trims or other.trims,
        takes=one.takes | other.takes,
        needs=one.needs | other.needs,
    )


def all_pairs(kinds: Iterable[Kind]) -> list[tuple[Kind, Kind]]:
    """Every two that go together, in the order of the catalogue."""
    return [pair for pair in combinations(kinds, 2) if go_together(*pair)]


def drawn_pairs(kinds: Iterable[Kind], number: int, seed: int) -> list[Kind]:
    """So many pairs, by seed; fewer when there are not as many."""
    pairs = all_pairs(kinds)
    drawn = Random(f"pairs-{seed}").sample(pairs, min(number, len(pairs)))
    return [pair_of(*pair) for pair in drawn]


def _in_turn(*acts: Act | None) -> Act:
    def act(stage: Stage) -> None:
        for each in acts:
            if each is not None:
                each(stage)

    return act


def _together(*acts: Act) -> Act:
    """Acts that begin at the same moment, each in a thread of its own."""

    def act(stage: Stage) -> None:
        faults: list[BaseException] = []
        start = Barrier(len(acts))

        def play(one: Act) -> None:
            try:
                start.wait()
                one(stage)
            except BaseException as fault:
                faults.append(fault)

        threads = [Thread(target=play, args=(one,), daemon=True) for one in acts]
        for thread in threads:
            thread.start()
        stage.await_end_of(threads)
        if faults:
            raise faults[0]
        stage.over()

    return act


MODULES = (
    "on_workers",
    "on_points",
    "on_beat",
    "on_messages",
    "on_postgres",
    "on_valkey",
    "on_producers",
    "on_versions",
    "on_partitions",
)
"""Each adds its kinds when it is imported, in the order in which they run."""
KINDS: dict[str, Kind] = {}
"""All kinds, by name, in the order in which they run."""


def add(kind: Kind) -> None:
    """Put a kind into the catalogue."""
    assert kind.name not in KINDS, kind.name
    KINDS[kind.name] = kind


def named(name: str, known: Mapping[str, Kind]) -> Kind:
    """A kind, or the pair that ``one+other`` names. Raises KeyError."""
    one, plus, other = name.partition("+")
    return pair_of(known[one], known[other]) if plus else known[one]


def catalogue() -> dict[str, Kind]:
    """All kinds, by name, in the order in which they run."""
    for module in MODULES:
        import_module(f"tests.fault.campaign.{module}")
    return KINDS
