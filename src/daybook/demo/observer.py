"""What the scenes see: the ledger's answers, in a few words and in minor units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine

from daybook.apply.dry_run import DryRun
from daybook.embedded.parts import wait_until
from daybook.ledger.instructions import Kind
from daybook.ledger.preview import Preview
from daybook.ledger.record import Status
from daybook.store.read.history import balance_at
from daybook.store.read.queries import find_balance, find_identity, list_balances, reading
from daybook.store.read.recorded import find_transaction
from daybook.store.read.snapshots import RequestLog, SnapshotView, take_snapshot
from daybook.store.read.statements import open_statement
from daybook.store.read.views import RejectionView, TransactionView

NOT_THERE = "not in the journal"


@dataclass(frozen=True, slots=True)
class Seen:
    """One scene: what was asked, what the ledger shows, and what it must show.

    figures: what may be spent of each balance by its name, in minor units. records: how many the
    journal gets.
    """

    what: str
    shown: str
    promised: str
    figures: Mapping[str, int]
    promised_figures: Mapping[str, int]
    records: int


class Observer:
    """Reads the ledger. All methods raise what the store raises."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.dry_run = DryRun(engine)

    def told(self, transaction_id: str) -> str:
        """What the journal has of a request: its status, and what became of its parts."""
        view = self._find(transaction_id)
        return NOT_THERE if view is None else _told(view)

    def told_when_due(self, transaction_ids: Sequence[str], seconds_max: float) -> list[str]:
        """What the journal has of each once a date has ended it, or when the time is up."""

        def ended() -> bool:
            return all(_has_ended(self._find(one)) for one in transaction_ids)

        wait_until(ended, seconds_max)
        return [self.told(one) for one in transaction_ids]

    def accepted_at(self, transaction_id: str) -> datetime:
        """When a request was accepted; now, when the journal does not have it."""
        view = self._find(transaction_id)
        return datetime.now(UTC) if view is None else view.created_at

    def available(self, balance_ids: Iterable[str]) -> dict[str, int]:
        """What may be spent of each balance that exists."""
        with reading(self._engine) as connection:
            views = [find_balance(connection, one) for one in balance_ids]
        return {view.balance_id: view.available for view in views if view is not None}

    def balances_at(
        self, moment: datetime, balance_ids: Collection[str]
    ) -> tuple[dict[str, int], str]:
        """What each balance was at a time, and whether the journal, summed up, says the same."""
        with reading(self._engine) as connection:
            quick, summed = (
                {
                    one: view.balance
                    for one in balance_ids
                    if (view := balance_at(connection, one, moment, from_journal=slow)) is not None
                }
                for slow in (False, True)
            )
        return quick, "as the journal says" if quick == summed else "NOT as the journal says"

    def snapshot(self, request_log: RequestLog) -> SnapshotView | None:
        """Take a snapshot."""
        return take_snapshot(self._engine, request_log)

    def statement(self, balance_id: str) -> tuple[int, str]:
        """How many lines the statement of a balance has, and between which figures it leads."""
        with reading(self._engine) as connection:
            found = open_statement(connection, balance_id)
            if found is None:
                return 0, "no balance"
            lines = list(found)
            return len(lines), f"from {found.major(found.opening)} to {found.major(found.closing)}"

    def owner_told(self, identity_id: str, names: Mapping[str, str]) -> str:
        """The balances of an owner, by ``names``, and the owner's meta_data."""
        with reading(self._engine) as connection:
            owner = find_identity(connection, identity_id)
            owned = list_balances(connection, identity_id=identity_id)
        if owner is None:
            return "no identity"
        balances = sorted(names.get(view.balance_id, view.balance_id) for view in owned)
        told = f"owns {', '.join(balances)}"
        known = ", ".join(f"{key} {value}" for key, value in sorted(owner.meta_data.items()))
        return f"{told}; {known}" if known else told

    def _find(self, transaction_id: str) -> TransactionView | None:
        with reading(self._engine) as connection:
            view = find_transaction(connection, id=transaction_id)
        return None if isinstance(view, RejectionView) else view


def preview_told(preview: Preview) -> str:
    """What a dry run says of a request, in the words of ``Observer.told``."""
    whole = " ".join(filter(None, (preview.status, preview.reason)))
    parts = [record.reason or record.status for record in preview.records if record.part]
    return f"would be {_with_parts(whole, parts)}"


def _told(view: TransactionView) -> str:
    if view.records:
        return _with_parts(view.status, [one.reason or one.status for one in view.records])
    whole = " ".join(filter(None, (view.status, view.reason)))
    ended = [f"{one.kind} {one.amount_string}" for one in _endings(view)]
    return f"{whole}: {', '.join(ended)}" if ended else whole


def _with_parts(whole: str, parts: Iterable[str]) -> str:
    counted = ", ".join(f"{count} {name}" for name, count in Counter(parts).items())
    return f"{whole}: {counted}" if counted else whole


def _endings(view: TransactionView) -> list[TransactionView]:
    """The commits and voids of a hold, in their order."""
    kinds = (Kind.COMMIT, Kind.VOID)
    found = [one for one in view.actions if one.kind in kinds and one.status != Status.REJECTED]
    return sorted(found, key=lambda one: one.sequence)


def _has_ended(view: TransactionView | None) -> bool:
    """Whether nothing waits for a date any more."""
    if view is None or view.status == Status.SCHEDULED:
        return False
    return view.hold is None or view.hold.remaining == 0
