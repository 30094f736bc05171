"""What the demo is told in: its money, its steps, and the plain sums that it must come to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from daybook.ledger.balance import internal_balance_id
from daybook.ledger.record import Status
from daybook.ledger.rejection import Reason
from daybook.requests import Request


class Money(NamedTuple):
    """A currency of the story; amounts are integers in minor units."""

    currency: str
    precision: int
    deposit: int
    payment_max: int


EUR = Money("EUR", 100, 1_000_00, 120_00)
USD = Money("USD", 100, 1_000_00, 120_00)
TOKEN = Money("TOKEN", 10**18, 7 * 10**29 + 1, 10**29)
MONEYS = (EUR, USD, EUR, USD, TOKEN)
"""In turn, one for each customer."""


class Customer(NamedTuple):
    """A customer with one balance."""

    name: str
    balance_id: str
    money: Money


@dataclass(frozen=True, slots=True)
class Step:
    """One request, and the outcome that it must have.

    is_new: whether it uses its reference for the first time, so that the ledger records it.
    parts: how many records it has besides its own: of its legs, items or refunds.
    """

    kind: str
    request: Request
    status: Status
    reason: Reason | None = None
    is_new: bool = True
    parts: int = 0

    @property
    def records(self) -> int:
        """How many records the journal gets."""
        return 1 + self.parts if self.is_new else 0


class Figures(NamedTuple):
    """What a balance must show, in minor units."""

    balance: int
    inflight_credit: int
    inflight_debit: int


class Tally:
    """What each balance must come to, as plain sums by balance id."""

    def __init__(self) -> None:
        self._balance: Counter[str] = Counter()
        self._coming: Counter[str] = Counter()
        self._leaving: Counter[str] = Counter()

    def move(self, source: str, destination: str, amount: int) -> None:
        """Money moves."""
        self._balance[source] -= amount
        self._balance[destination] += amount

    def hold(self, source: str, destination: str, amount: int) -> None:
        """Money is held, or released when ``amount`` is negative."""
        self._leaving[source] += amount
        self._coming[destination] += amount

    def available(self, balance_id: str) -> int:
        """What may be spent."""
        return self._balance[balance_id] - self._leaving[balance_id]

    def figures(self) -> dict[str, Figures]:
        """Every balance that was touched."""
        touched = self._balance.keys() | self._coming.keys() | self._leaving.keys()
        return {
            one: Figures(self._balance[one], self._coming[one], self._leaving[one])
            for one in sorted(touched)
        }


def id_of(name: str, money: Money) -> str:
    """The id of the balance that is named, by its id or by an ``@Name``."""
    return internal_balance_id(name, money.currency) if name.startswith("@") else name
