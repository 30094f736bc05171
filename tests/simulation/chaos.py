"""What goes wrong, and how often: drawn anew for each run, which so has a mixture of its own."""

from __future__ import annotations

from enum import StrEnum
from random import Random

from daybook.steps import Point


class Fault(StrEnum):
    """What can happen at a point, and around it."""

    CRASH = "crash"
    """The process dies at a point."""
    STALL = "stall"
    """It stands still, longer than every time-out."""
    ERROR = "error"
    """What it talks to does not answer: before the call, or after it has taken effect."""
    REPEAT = "repeat"
    """Its message is delivered once more."""
    CONFLICT = "conflict"
    """Postgres aborts the unit of work: serialization failure, deadlock."""
    UNKNOWN = "unknown"
    """The connection is lost after the commit was sent."""
    BELL_LOST = "bell-lost"
    BELL_LATE = "bell-late"
    """Doorbells are delayed and overtake each other."""
    CLOCK_JUMP = "clock-jump"
    """The log's server has another time all at once."""
    BEAT_DOUBLED = "beat-doubled"
    RESIZE = "resize"
    """Somebody changes the number of partitions, up and down."""
    TAIL_LOST = "tail-lost"
    """The log comes back without what was written last."""
    LOG_EMPTY = "log-empty"
    """The log comes back without anything."""
    RESTORE = "restore"
    """Postgres comes back as it was a while ago."""
    OUTCOMES_LOST = "outcomes-lost"
    """Redis has forgotten outcomes, as after their retention."""


AT_POINTS = (Fault.CRASH, Fault.STALL, Fault.ERROR, Fault.REPEAT)
"""What can happen at every point of the pipeline."""

_COMMON = (
    *AT_POINTS,
    Fault.CONFLICT,
    Fault.UNKNOWN,
    Fault.BELL_LOST,
    Fault.BELL_LATE,
    Fault.CLOCK_JUMP,
    Fault.BEAT_DOUBLED,
    Fault.RESIZE,
)
_LOSSES = (Fault.TAIL_LOST, Fault.LOG_EMPTY, Fault.RESTORE, Fault.OUTCOMES_LOST, None, None)
"""One of them a run: two at once may lose what was accepted, and nobody promises otherwise."""

RATE_MAX = 0.06
STALL_MS = 60_000


class Chaos:
    """Decides whether something goes wrong now. loss: what is lost in this run, if anything."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.calm = False
        self.rates = {
            fault: random.random() * RATE_MAX for fault in _COMMON if random.random() < 0.5
        }
        self.loss = random.choice(_LOSSES)
        self.happened: dict[tuple[str, str], int] = {}

    def strikes(self, fault: Fault, where: str = "") -> bool:
        """Whether this fault happens here."""
        if self.calm or self._random.random() >= self.rates.get(fault, 0.0):
            return False
        self.happened[fault, where] = self.happened.get((fault, where), 0) + 1
        return True

    def has(self, fault: Fault) -> bool:
        """Whether this run has such a fault now, at times of its own."""
        return fault in self.rates and not self.calm

    def at(self, point: Point) -> Fault | None:
        """What happens at a point of the pipeline."""
        return next((fault for fault in AT_POINTS if self.strikes(fault, point)), None)
