"""How much a ledger has: its balances, and the transactions that touch them, up to a bound."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, func, literal, select

from daybook.store.read.collections import MOVING
from daybook.store.read.transactions import BOTH_DATES
from daybook.store.schema import balances, transactions

COUNTED_MAX = 10_000
"""Most that is counted: a page of a ledger may not cost what its whole journal costs."""


class LedgerCounts(NamedTuple):
    """Numbers of a ledger. complete: neither is more than ``COUNTED_MAX``, where it stops."""

    balances: int
    transactions: int
    complete: bool


def counts_of_ledger(connection: Connection, ledger_id: str) -> LedgerCounts:
    """Balances of a ledger; transactions with one on either side, rejected ones included."""
    its = balances.c.ledger_id == ledger_id
    found = _number(connection, select(balances.c.balance_id).where(its))
    moved = 0
    for arm in _arms(ledger_id):
        if moved <= COUNTED_MAX:
            moved += _number(connection, arm)
    return LedgerCounts(
        min(found, COUNTED_MAX), min(moved, COUNTED_MAX), max(found, moved) <= COUNTED_MAX
    )


def _number(connection: Connection, query: Select[Any]) -> int:
    bounded = query.limit(COUNTED_MAX + 1).subquery()
    return connection.execute(select(func.count()).select_from(bounded)).scalar_one()


def _arms(ledger_id: str) -> list[Select[Any]]:
    """Records from the ledger, and those into it from elsewhere; as their indexes find them."""
    columns = transactions.c
    own = select(balances.c.balance_id).where(balances.c.ledger_id == ledger_id)
    arms = []
    for side, elsewhere in ((columns.source, None), (columns.destination, columns.source)):
        for dated in BOTH_DATES:
            arm = select(literal(1)).select_from(
                balances.join(transactions, side == balances.c.balance_id)
            )
            arm = arm.where(balances.c.ledger_id == ledger_id, dated, MOVING)
            arms.append(arm if elsewhere is None else arm.where(elsewhere.not_in(own)))
    return arms
