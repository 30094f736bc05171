"""The shelf and the model side by side: figures, holds, rows, and what is known of things."""

from __future__ import annotations

import json
from typing import Any

from daybook.ledger.balance import internal_balance_id
from daybook.ledger.entry import Decision, LogEntry
from tests.engine.shelf import Shelf
from tests.oracle.facts import BalanceKey, Expected, Request, Row
from tests.oracle.model import Model

SHOWN = (
    "transaction_id", "kind", "status", "reason", "parent_id", "part", "parts", "effective_micros",
    "description",
)  # fmt: skip
FIGURES = ("credit", "debit", "inflight_credit", "inflight_debit", "version")


def key_of(shelf: Shelf, balance_id: str) -> BalanceKey:
    """What the model calls a balance."""
    stored = shelf.balances[balance_id]
    return (stored["indicator"], stored["currency"]) if stored["indicator"] else balance_id


def figures(shelf: Shelf) -> dict[BalanceKey, tuple[int, ...]]:
    """All figures of the shelf, as the model shows them."""
    return {
        key_of(shelf, balance_id): tuple(stored[name] for name in FIGURES)
        for balance_id, stored in shelf.balances.items()
    }


def take(model: Model, entry: LogEntry, request: Request) -> Expected:
    """What the model says of an accepted request, at the time of its acceptance."""
    return model.take(request, entry.request_id, entry.accepted_ms * 1000)


def assert_same_outcome(outcome: Decision, expected: Expected, request: Any) -> None:
    """The engine's answer is the model's."""
    assert (
        outcome.status,
        outcome.reason,
        outcome.duplicate,
        outcome.transaction_id,
    ) == (expected.status, expected.reason, expected.duplicate, expected.original), request


def assert_same_state(shelf: Shelf, model: Model) -> None:
    """All that stands after some requests is what the model says."""
    assert figures(shelf) == {key: kept.shown() for key, kept in model.balances.items()}
    holds = {
        own: (hold["amount"], hold["committed"], hold["voided"])
        for own, hold in shelf.holds.items()
    }
    expected = {own: (h.amount, h.committed, h.voided) for own, h in model.holds.items()}
    assert holds == expected
    assert shelf.schedules.keys() == model.schedules.keys()
    assert_same_things(shelf, model)


def assert_same_things(shelf: Shelf, model: Model) -> None:
    """Ledgers, balances and identities are known as the model knows them."""
    things = shelf.things()
    for own, thing in model.things.items():
        fields = (
            {"name": "General Ledger"} | thing.fields if own.startswith("gen") else thing.fields
        )
        assert things[own] == {"fields": fields, "meta_data": thing.meta_data}, own
    for own, meta_data in model.merged.items():
        assert things[own]["meta_data"] == meta_data, own
    assert {own for own in things if own.startswith(("txn_", "bulk_"))} == model.merged.keys()


def assert_same_rows(shelf: Shelf, model: Model) -> None:
    """The journal says what the model says, row by row."""
    records = shelf.journals[0].records
    for record, row in zip(records, model.rows, strict=False):
        assert shown_of_record(record._asdict()) == shown_of_row(row)
    assert len(records) == len(model.rows)


def shown_of_record(record: dict[str, Any]) -> dict[str, Any]:
    """Of a record what the model says too: of a rejection neither sides nor amounts."""
    shown = {name: record[name] for name in SHOWN}
    if record["status"] in ("REJECTED", "SCHEDULED") or record["kind"] == "change":
        return {**shown, "parts": None}
    meta_data = json.loads(record["meta_data"] or "{}")
    if record["parts"] is not None:
        return {**shown, "meta_data": meta_data}
    moved = ("source_id", "destination_id", "precise_amount", "precision")
    return {**shown, "meta_data": meta_data, **{name: record[name] for name in moved}}


def shown_of_row(row: Row) -> dict[str, Any]:
    """What the model says of a record."""
    record = {
        "transaction_id": row.transaction_id,
        "kind": row.kind,
        "status": row.status,
        "reason": row.reason,
        "parent_id": row.parent,
        "part": row.part,
        "parts": row.parts,
        "meta_data": json.dumps(row.meta_data),
        "source_id": _id_of(row.source),
        "destination_id": _id_of(row.destination),
        "precise_amount": row.amount,
        "precision": row.precision,
        "effective_micros": row.effective,
        "description": row.description,
    }
    return shown_of_record(record)


def _id_of(key: BalanceKey | None) -> str | None:
    return internal_balance_id(*key) if isinstance(key, tuple) else key
