"""What a dry run answers: plain values, for producers too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a balance, in minor units (see ``store.read.views.BalanceView``)."""

    balance: int
    available: int
    credit_balance: int
    debit_balance: int
    inflight_credit_balance: int
    inflight_debit_balance: int


@dataclass(frozen=True, slots=True)
class BalancePreview:
    """A balance that the request names, before and after.

    exists: False for an internal balance that the request would create.
    """

    balance_id: str
    indicator: str | None
    currency: str
    precision: int | None
    exists: bool
    before: Figures
    after: Figures


@dataclass(frozen=True, slots=True)
class RecordPreview:
    """A record that the journal would get; fields as in ``store.read.views.TransactionView``.

    effective_date: as ISO 8601 text.
    """

    kind: str
    reference: str
    part: int | None
    status: str
    reason: str | None
    detail: str | None
    source: str | None
    destination: str | None
    currency: str
    precision: int | None
    precise_amount: int | None
    amount_string: str | None
    effective_date: str
    description: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What would happen.

    would_apply: whether the request would be carried out. status: the one that it would get.
    duplicate: the same request is recorded or scheduled already; nothing would happen.
    reason, detail: of a rejection, the code and one sentence.
    """

    would_apply: bool
    status: str
    duplicate: bool
    reason: str | None
    detail: str | None
    balances: tuple[BalancePreview, ...]
    records: tuple[RecordPreview, ...]

    def as_dict(self) -> dict[str, Any]:
        """The preview as plain data, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Self:
        """The preview that ``as_dict`` made this of."""
        balances = (
            BalancePreview(
                **{
                    **balance,
                    "before": Figures(**balance["before"]),
                    "after": Figures(**balance["after"]),
                }
            )
            for balance in given["balances"]
        )
        records = (RecordPreview(**record) for record in given["records"])
        return cls(**{**given, "balances": tuple(balances), "records": tuple(records)})
