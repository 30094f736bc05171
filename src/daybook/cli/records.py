"""How a transaction is shown: its amounts, its hold, its legs or items, and what was done to it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import typer

from daybook.cli.output import print_fields, print_table
from daybook.cli.showing import major, side_of, status_of
from daybook.cli.wiring import open_reading
from daybook.errors import ConfigError, StoreUnavailable

if TYPE_CHECKING:
    from daybook.store.read.views import HoldView, TransactionView

ONLY_IN_FULL = ("refunded_by", "hold", "records", "actions")
"""Fields of a transaction that was asked for by name; those that it has not are not shown."""
TABLES = ("records", "actions")
"""Those of them that are lists."""
OF_SIDES = ("source_", "destination_")
"""How fields begin that stand beside the id of a side."""


def fields_of(view: TransactionView) -> dict[str, Any]:
    """What a transaction has not when it is no hold, refunded or carried out by parts is left out,
    rather than empty."""
    fields = view.asdict()
    for name in ONLY_IN_FULL:
        if not fields[name]:
            del fields[name]
    for name in TABLES:
        if name in fields:
            fields[name] = [fields_of(record) for record in getattr(view, name)]
    return fields


def print_transaction(view: TransactionView) -> None:
    """Everything about one transaction, for people."""
    fields = {
        name: value
        for name, value in fields_of(view).items()
        if value is not False and name not in TABLES and not name.startswith(OF_SIDES)
    }
    for side in ("source", "destination"):
        if (name := side_of(view, side)) != fields.get(side):
            fields[side] = f"{name}  ({fields[side]})"
    if view.precise_amount is not None:
        amount = major(view.precise_amount, view.precision)
        fields["precise_amount"] = f"{view.precise_amount}  ({amount})"
    if view.hold is not None:
        fields["hold"] = _hold(view.hold, view.precision or _precision(view))
    print_fields(fields)
    print_records(view)


def _precision(view: TransactionView) -> int | None:
    """That of the parts: figures of their holds are only added up when they have one."""
    return next((record.precision for record in view.records if record.precision), None)


def _hold(hold: HoldView, precision: int | None) -> str:
    amount, committed, voided, left = (
        major(figure, precision)
        for figure in (hold.amount, hold.committed, hold.voided, hold.remaining)
    )
    return f"{amount} held: {committed} committed, {voided} voided, {left} left"


def print_records(view: TransactionView) -> None:
    """The legs or items of a request, then what was done to it."""
    if view.records:
        print_table(
            ("part", "transaction_id", "reference", "source", "destination", "status", "amount"),
            [
                (
                    record.part,
                    record.transaction_id,
                    record.reference,
                    side_of(record, "source"),
                    side_of(record, "destination"),
                    status_of(record),
                    major(record.precise_amount, record.precision),
                )
                for record in view.records
            ],
            later=("reference", "transaction_id"),
            right=("part", "amount"),
        )
        if len(view.records) < (view.parts or 0):
            typer.echo(f"{len(view.records)} of {view.parts} parts", err=True)
    if view.actions:
        print_table(
            ("accepted", "transaction_id", "kind", "status", "amount"),
            [
                (
                    action.created_at,
                    action.transaction_id,
                    action.kind,
                    status_of(action),
                    major(action.precise_amount, action.precision),
                )
                for action in view.actions
            ],
            later=("transaction_id",),
            right=("amount",),
        )


def recorded_in_parts(request_id: str) -> TransactionView | None:
    """What the ledger has of a request that several records carry out.

    None when one does, or when the ledger can't be asked.
    """
    from daybook.store.read import queries
    from daybook.store.read.views import TransactionView

    found = None
    with suppress(ConfigError, StoreUnavailable), open_reading() as connection:
        found = queries.find_transaction(connection, id=request_id)
    return found if isinstance(found, TransactionView) and found.records else None
