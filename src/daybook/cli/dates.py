"""Show what waits for a date: scheduled transactions, and holds with something left."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from daybook.cli.output import AsJson, print_json, print_table
from daybook.cli.showing import Limit, major, moment_of, side_of
from daybook.cli.wiring import open_reading

DueBefore = Annotated[
    str | None,
    typer.Option("--due-before", metavar="DATE", help="Only what is due before, e.g. 2026-04-22."),
]


def schedules(due_before: DueBefore = None, limit: Limit = 100, as_json: AsJson = False) -> None:
    """List transactions that wait for their time, the next one first."""
    from daybook.store.read import queries

    before = moment_of(due_before, "--due-before")
    with open_reading() as connection:
        found = queries.list_schedules(connection, due_before=before, limit=limit)
    if as_json:
        print_json([view.asdict() for view in found])
        return
    print_table(
        ("scheduled_for", "transaction_id", "reference", "amount", "currency", "accepted"),
        [
            (
                view.scheduled_for,
                view.transaction_id,
                view.reference,
                _amount(view.request),
                view.request.get("currency"),
                view.created_at,
            )
            for view in found
        ],
        right=("amount",),
        later=("transaction_id",),
        empty="Nothing is scheduled.",
    )


def _amount(request: dict[str, Any]) -> str | None:
    """The amount of a request in major units; None when the text in it is no such request's."""
    try:
        return major(int(request["precise_amount"]), int(request["precision"]))
    except (KeyError, ValueError):
        return None


def holds(due_before: DueBefore = None, limit: Limit = 100, as_json: AsJson = False) -> None:
    """List open holds with what is left of them: those with a date first, the next one first."""
    from daybook.store.read import queries

    before = moment_of(due_before, "--due-before")
    with open_reading() as connection:
        found = queries.list_holds(connection, due_before=before, limit=limit)
    if as_json:
        print_json([view.asdict() for view in found])
        return
    print_table(
        (
            *("expires", "commits", "transaction_id", "reference", "source", "destination"),
            *("amount", "remaining", "currency"),
        ),
        [
            (
                view.inflight_expiry_date,
                view.inflight_commit_date,
                view.transaction_id,
                view.reference,
                side_of(view, "source"),
                side_of(view, "destination"),
                major(view.amount, view.precision),
                major(view.remaining, view.precision),
                view.currency,
            )
            for view in found
        ],
        right=("amount", "remaining"),
        later=("commits", "reference", "transaction_id"),
        empty="Nothing is held.",
    )
