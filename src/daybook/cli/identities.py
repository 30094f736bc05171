"""Show identities, and how a thing was changed."""

from __future__ import annotations

from typing import Annotated

import typer

from daybook.cli.naming import subject_named
from daybook.cli.output import AsJson, print_fields, print_json, print_table
from daybook.cli.showing import Limit, say_more, status_of
from daybook.cli.wiring import open_reading
from daybook.errors import NotFound


def identities(
    after: Annotated[
        str | None, typer.Option(help="Go on behind this identity, the last of a page.")
    ] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List the identities that own balances."""
    from daybook.store.read import queries

    with open_reading() as connection:
        found = queries.list_identities(connection, after=after, limit=limit)
    if as_json:
        print_json([view.asdict() for view in found])
        return
    print_table(
        ("identity_id", "type", "name", "email", "country", "created"),
        [
            (
                view.identity_id,
                view.identity_type,
                view.name,
                view.email_address,
                view.country,
                view.created_at,
            )
            for view in found
        ],
        later=("identity_id",),
        empty="No identity there.",
    )
    say_more(len(found), limit, found[-1].identity_id if found else "")


def identity(
    identity_id: Annotated[str, typer.Argument(metavar="IDENTITY", help="Its id: idt_….")],
    as_json: AsJson = False,
) -> None:
    """Show one identity. Its balances: `daybook balances --identity idt_…`."""
    from daybook.store.read import queries

    with open_reading() as connection:
        view = queries.find_identity(connection, identity_id)
    if view is None:
        raise NotFound(
            f"there is no identity {identity_id}: list those that are with `daybook identities`"
        )
    if as_json:
        print_json(view.asdict())
        return
    print_fields(view.asdict())


def changes(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="SUBJECT",
            help="What was changed: ldg_…, bln_…, idt_…, txn_… or bulk_…; or a reference, or the "
            "external_id of a balance.",
        ),
    ],
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """Show who set what about a thing, and when: its changes and its creation, newest first."""
    from daybook.store.read import queries

    subject_id = subject_named(subject)
    with open_reading() as connection:
        found = queries.list_changes(connection, subject_id, limit=limit)
    if as_json:
        print_json([view.asdict() for view in found])
        return
    print_table(
        ("accepted", "transaction_id", "kind", "made_by", "status", "fields", "meta_data"),
        [
            (
                view.created_at,
                view.transaction_id,
                view.kind,
                view.made_by,
                status_of(view),
                view.fields or None,
                view.meta_data or None,
            )
            for view in found
        ],
        later=("transaction_id", "fields", "meta_data"),
        empty=f"Nothing was ever set about {subject}.",
    )
