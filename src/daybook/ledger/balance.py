"""A balance: what is fixed about it, and its four growing figures."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from operator import attrgetter

from daybook.ledger.money import FIGURE_MAX

GENERAL_LEDGER_ID = "general_ledger_id"
"""The ledger that groups the internal balances; it exists from the first migration."""

INDICATOR = re.compile(r"@\S+\Z")
"""An internal balance is named by its indicator, such as ``@World``."""

_CACHED_INTERNAL_IDS = 65_536
_VERSION_PLACE = len("bln_xxxxxxxx-xxxx-")


@lru_cache(maxsize=_CACHED_INTERNAL_IDS)
def internal_balance_id(indicator: str, currency: str) -> str:
    """The id of the internal balance (indicator, currency), derived from the two.

    So two partitions that use one for the first time at the same moment mean the same balance.
    """
    digest = sha256(f"{indicator}\x00{currency}".encode()).hexdigest()
    return f"bln_{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"


def named_balance_id(name: str, currency: str) -> str:
    """The id of the balance that a request names: by its id, or by an indicator."""
    return internal_balance_id(name, currency) if name.startswith("@") else name


def may_be_internal(balance_id: str) -> bool:
    """Whether the id has the form of an internal balance's: a UUID of version 8."""
    return balance_id[_VERSION_PLACE] == "8"


BalanceState = tuple[int | None, ...]
"""What ``Balance.state`` answers."""

_CHANGING = (
    "precision",
    "credit",
    "debit",
    "inflight_credit",
    "inflight_debit",
    "added_credit",
    "added_debit",
    "added_inflight_credit",
    "added_inflight_debit",
    "touches",
)
_changing: Callable[[object], BalanceState] = attrgetter(*_CHANGING)


class Balance:
    """The working copy of one balance in a batch: figures as read, plus what the batch adds.

    Figures are integers in minor units. ``added_*`` are the sums that the batch adds to the
    stored figures, ``touches`` how many transactions touched the balance (its version grows by
    that), ``read_precision`` the precision as it was read, which is compared again at the lock.
    """

    __slots__ = (
        "added_credit",
        "added_debit",
        "added_inflight_credit",
        "added_inflight_debit",
        "balance_id",
        "credit",
        "currency",
        "debit",
        "fingerprint",
        "identity_id",
        "indicator",
        "inflight_credit",
        "inflight_debit",
        "is_new",
        "ledger_id",
        "meta_data",
        "precision",
        "read_precision",
        "touches",
    )

    def __init__(
        self,
        balance_id: str,
        ledger_id: str,
        currency: str,
        indicator: str | None = None,
        precision: int | None = None,
        credit: int = 0,
        debit: int = 0,
        inflight_credit: int = 0,
        inflight_debit: int = 0,
        *,
        fingerprint: bytes | None = None,
        meta_data: str | None = None,
        identity_id: str | None = None,
        is_new: bool = False,
    ) -> None:
        self.balance_id = balance_id
        self.ledger_id = ledger_id
        self.currency = currency
        self.indicator = indicator
        self.precision = self.read_precision = precision
        self.credit = credit
        self.debit = debit
        self.inflight_credit = inflight_credit
        self.inflight_debit = inflight_debit
        self.fingerprint = fingerprint
        self.meta_data = meta_data
        self.identity_id = identity_id
        self.is_new = is_new
        self.added_credit = 0
        self.added_debit = 0
        self.added_inflight_credit = 0
        self.added_inflight_debit = 0
        self.touches = 0

    @property
    def name(self) -> str:
        """What people call it: its ``@Name``, or its id."""
        return self.indicator or self.balance_id

    @property
    def balance(self) -> int:
        """Credit minus debit, in minor units."""
        return self.credit - self.debit

    @property
    def available(self) -> int:
        """What may be spent: balance minus inflight debits. Inflight credits never count."""
        return self.credit - self.debit - self.inflight_debit

    def add(
        self, credit: int = 0, debit: int = 0, inflight_credit: int = 0, inflight_debit: int = 0
    ) -> None:
        """Move the figures by these amounts (minor units), as one more transaction."""
        self.credit += credit
        self.debit += debit
        self.inflight_credit += inflight_credit
        self.inflight_debit += inflight_debit
        self.added_credit += credit
        self.added_debit += debit
        self.added_inflight_credit += inflight_credit
        self.added_inflight_debit += inflight_debit
        self.touches += 1

    def state(self) -> BalanceState:
        """All that transactions change, for ``restore``."""
        return _changing(self)

    def restore(self, state: BalanceState) -> None:
        """Go back to an earlier state."""
        for name, value in zip(_CHANGING, state, strict=True):
            setattr(self, name, value)

    def credit_fits(self, amount: int) -> bool:
        """Whether ``amount`` more on the credit side, posted or held, stays a legal figure."""
        return self.credit + self.inflight_credit + amount <= FIGURE_MAX

    def debit_fits(self, amount: int) -> bool:
        """Whether ``amount`` more on the debit side, posted or held, stays a legal figure."""
        return self.debit + self.inflight_debit + amount <= FIGURE_MAX
