"""What a kind of fault is, and the list of all kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fault.campaign.stage import Stage

Act = Callable[["Stage"], None]


class Promise(StrEnum):
    """What a kind leaves untouched, from most to least; all of them keep the oracle."""

    NOTHING_LOST = "nothing lost"
    """Every accepted request comes to its outcome by itself, and its producer is told."""
    SEND_AGAIN = "send again"
    """What was accepted and not applied is gone, or its outcome is not told: whoever was not told
    sends it again, and it is posted once."""


class Skipped(Exception):  # noqa: N818 - says what became of the kind
    """The kind can't be brought about on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    what: what it does, in a line. act: does it, and ends it, while requests come. prepare: what
    must be there before workers start. trims: applied entries may leave the log early, so what
    was accepted is written down beside it. short: belongs to the few that every test run runs.
    """

    name: str
    what: str
    act: Act
    promise: Promise = Promise.NOTHING_LOST
    prepare: Act | None = None
    trims: bool = False
    short: bool = False


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


def catalogue() -> dict[str, Kind]:
    """All kinds, by name, in the order in which they run."""
    for module in MODULES:
        import_module(f"tests.fault.campaign.{module}")
    return KINDS
