"""What makes the code raise, or Postgres refuse its data, until an update has mended that.

A request is spoilt by its description. All the rest is the real code: it quarantines the entry and
goes on, and an operator has it retried, or discards it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

from daybook.ledger.book import Book
from daybook.ledger.entry import Decision, LogEntry
from daybook.ledger.instructions import (
    Bulk,
    Cancel,
    Commit,
    MultiLeg,
    Refund,
    Transaction,
    Void,
)
from daybook.ledger.posting import bulk
from daybook.ledger.posting.kinds import KINDS
from daybook.ledger.posting.transactions import post_legs, post_transaction
from daybook.ledger.record import Record, Status

BOOM, ODD = "boom", "odd"
"""Descriptions: of what makes the code raise, and of what Postgres refuses."""

_SPOILT = (Transaction, MultiLeg, Bulk, Commit, Void, Refund, Cancel)


class Poison:
    """Whether spoilt requests still do harm. is_mended: they do not."""

    def __init__(self) -> None:
        self.is_mended = False

    def refuses(self, record: Record) -> bool:
        """Whether Postgres refuses this row."""
        return record.description == ODD and not self.is_mended

    @contextmanager
    def in_the_code(self) -> Iterator[None]:
        """Deciding what is spoilt raises, in the middle of its changes."""
        raising = {
            kind: replace(KINDS[kind], post=self._raising(KINDS[kind].post)) for kind in _SPOILT
        }
        with (
            mock.patch.dict(KINDS, raising),
            mock.patch.object(bulk, "post_transaction", self._raising(post_transaction)),
            mock.patch.object(bulk, "post_legs", self._raising(post_legs)),
        ):
            yield

    def _raising(self, post: Callable[..., Any]) -> Callable[..., Any]:
        def posting(book: Book, entry: LogEntry, wanted: Any, *more: Any) -> Any:
            outcome = post(book, entry, wanted, *more)
            whole = wanted.whole if isinstance(wanted, MultiLeg) else wanted
            waits = isinstance(outcome, Decision) and outcome.status == Status.SCHEDULED
            if whole.description == BOOM and not self.is_mended and not waits:
                raise ZeroDivisionError("a fault of ours")
            return outcome

        return posting


def is_spoilt(body: bytes) -> bool:
    """Whether a request may be quarantined."""
    return any(f'"{word}"'.encode() in body for word in (BOOM, ODD))
