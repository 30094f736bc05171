"""What must hold of every batch before it is written: money is moved, and none is made or lost."""

from __future__ import annotations

from collections import Counter

from daybook.ledger.book import Book


class ConservationError(AssertionError):
    """A batch would make or lose money, by a fault of ours: nothing of it may be written."""


def check_conserved(book: Book) -> None:
    """See that credits equal debits in each currency, posted and inflight, and holds are kept.

    Raises ConservationError.
    """
    posted: Counter[str] = Counter()
    inflight: Counter[str] = Counter()
    for balance in book.touched_balances():
        posted[balance.currency] += balance.added_credit - balance.added_debit
        inflight[balance.currency] += balance.added_inflight_credit - balance.added_inflight_debit
    for name, sums in (("posted", posted), ("inflight", inflight)):
        for currency, difference in sums.items():
            if difference:
                raise ConservationError(
                    f"{name} credits exceed debits by {difference} minor units of {currency}"
                )
    for hold in book.changed_holds():
        if hold.remainder < 0 or hold.committed < 0 or hold.voided < 0:
            raise ConservationError(
                f"the hold {hold.transaction_id} of {hold.amount} has {hold.committed} committed "
                f"and {hold.voided} voided"
            )
