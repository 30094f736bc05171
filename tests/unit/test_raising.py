"""Requests that make the code raise, half-way through a change: nothing of the half is written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.simulation.test_conformance import Quiet, money
from tests.simulation.world import FIRST_MS

from daybook.apply.applier import Applier
from daybook.client.drafts import drafts
from daybook.ledger.book import Book
from daybook.ledger.entry import LogEntry
from daybook.ledger.instructions import Transaction
from daybook.ledger.posting.kinds import KINDS
from daybook.ledger.posting.transactions import post_transaction
from daybook.settings import Settings


@pytest.mark.parametrize("raises_from", [1, 2, 3])
def test_half_of_a_change_is_never_written(
    raises_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of what raises only when the batch is decided again, without another that raised."""
    tried = {"bad": 1, "worse": raises_from}

    def post(book: Book, entry: LogEntry, wanted: Transaction) -> Any:
        outcome = post_transaction(book, entry, wanted)
        tried[wanted.reference] = tried.get(wanted.reference, 99) - 1
        if tried[wanted.reference] <= 0:
            raise LookupError("a fault of ours, behind the change")
        return outcome

    monkeypatch.setitem(KINDS, Transaction, replace(KINDS[Transaction], post=post))
    quiet = Quiet(1)
    requests = [money(name)[0] for name in ("bad", "worse", "good")]
    quiet.log.append([draft.entry for draft in drafts(requests, lambda: FIRST_MS / 1000)])
    Applier(quiet.store, quiet.log, Settings()).drain(0)
    shelf = quiet.store.tables.shelf
    quarantined = {"bad"} if raises_from > 2 else {"bad", "worse"}
    recorded = {record.reference for record in shelf.journals[0].records}
    assert recorded == {"bad", "worse", "good"} - quarantined
    credits = [kept["credit"] for kept in shelf.balances.values()]
    assert sum(credits) == 5 * len(recorded)
