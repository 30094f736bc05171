"""Waiting for outcomes: what is still open, and how long until the next look."""

from __future__ import annotations

from collections.abc import Sequence

from daybook.client.names import Name, name_of
from daybook.client.receipts import Outcome, Receipt, outcome_for
from daybook.errors import OutcomeUnknown

POLL_SECONDS_MIN = 0.002

POLL_SECONDS_MAX = 0.1

POLL_SHARE = 0.1
"""A waiting client looks again after a tenth of the time that it has waited, within bounds."""

OUTCOMES_SLICE = 1_000
"""Outcomes asked for in one call."""


class Waiting:
    """Which of many receipts still have no outcome."""

    def __init__(self, receipts: Sequence[Receipt]) -> None:
        self._receipts = receipts
        self._open = list(range(len(receipts)))
        self.outcomes: list[Outcome | None] = [None] * len(receipts)

    @property
    def done(self) -> bool:
        return not self._open

    def slices(self) -> list[list[int]]:
        """Indexes of the open receipts, in slices of a bounded length."""
        return [
            self._open[i : i + OUTCOMES_SLICE] for i in range(0, len(self._open), OUTCOMES_SLICE)
        ]

    def take(self, indexes: Sequence[int], values: Sequence[bytes | None]) -> None:
        """Note what was found for these receipts."""
        for index, value in zip(indexes, values, strict=True):
            if value is not None:
                outcome = outcome_for(self._receipts[index], value)
                if outcome.answered:
                    self.outcomes[index] = outcome
        self._open = [index for index in self._open if self.outcomes[index] is None]


def pause_before(waited: float, timeout: float) -> float:
    """Seconds until the next look."""
    pause = min(max(POLL_SECONDS_MIN, waited * POLL_SHARE), POLL_SECONDS_MAX)
    return min(pause, timeout - waited)


def seconds_of(timeout: float | None) -> float:
    if timeout is None:
        raise TypeError("say how many seconds to wait: timeout=…")
    return timeout


def waited_for(receipt: Receipt | None, reference: str | None, id: str | None) -> Receipt | Name:
    """What a wait was given: a receipt, or a name. Raises TypeError for both, or for text."""
    if receipt is None:
        return name_of(reference, id)
    if not isinstance(receipt, Receipt) or reference is not None or id is not None:
        raise TypeError("give a receipt, or reference=… or id=…, one of them")
    return receipt


def still_unknown(receipt: Receipt, timeout: float) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"no outcome of {receipt.reference or receipt.id} after {timeout} s: it is in the log and "
        "may still be posted; wait again, or send the same request again"
    )
