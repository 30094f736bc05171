"""Submit changes of what is not money: identities, names, owners and meta_data."""

from __future__ import annotations

from typing import Annotated

import typer

from daybook.cli.naming import balance_named, ledger_if_known, subject_named
from daybook.cli.output import AsJson
from daybook.cli.sending import (
    DryRun,
    Fields,
    MadeBy,
    MetaDataText,
    OwnReference,
    Wait,
    meta_data_of,
    pairs,
    send,
    wrong,
)

IdentityId = Annotated[str, typer.Argument(metavar="IDENTITY", help="The identity: idt_….")]


def create_identity(
    fields: Fields = None,
    identity_id: Annotated[
        str | None, typer.Option("--id", help="The id to use (idt_<uuid>); minted if not given.")
    ] = None,
    meta_data: MetaDataText = None,
    wait: Wait = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Create an identity: a person or an organisation that owns balances."""
    known, given = pairs(fields), meta_data_of(meta_data)
    if {"identity_id", "meta_data"} & known.keys():
        raise wrong("fields", "identity_id and meta_data are given by --id and --meta-data")
    send(
        lambda client: client.create_identity(identity_id=identity_id, meta_data=given, **known),
        wait,
        as_json,
        dry_run,
    )


def change_identity(
    identity: IdentityId,
    fields: Fields = None,
    meta_data: MetaDataText = None,
    by: MadeBy = None,
    reference: OwnReference = None,
    wait: Wait = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Change what is known of an identity. Every change is kept, with who asked for it."""
    known, given = pairs(fields) or None, meta_data_of(meta_data)
    send(
        lambda client: client.change(
            identity, fields=known, meta_data=given, made_by=by, reference=reference
        ),
        wait,
        as_json,
        dry_run,
    )


def rename_ledger(
    ledger: Annotated[str, typer.Argument(help="The ledger: an id (ldg_…) or its name.")],
    name: Annotated[str, typer.Argument(help="Its new name.")],
    by: MadeBy = None,
    reference: OwnReference = None,
    wait: Wait = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Give a ledger another name."""
    ledger_id = ledger_if_known(ledger)
    send(
        lambda client: client.rename_ledger(ledger_id, name, made_by=by, reference=reference),
        wait,
        as_json,
        dry_run,
    )


def link_balance(
    balance: Annotated[str, typer.Argument(help="The balance: bln_…, or its external_id.")],
    identity: IdentityId,
    by: MadeBy = None,
    reference: OwnReference = None,
    wait: Wait = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Make an identity the owner of a balance."""
    balance_id = balance_named(balance)
    send(
        lambda client: client.link_identity(balance_id, identity, made_by=by, reference=reference),
        wait,
        as_json,
        dry_run,
    )


def meta_data(
    subject: Annotated[
        str,
        typer.Argument(
            help="What it is about: ldg_…, bln_…, idt_…, txn_… or bulk_…; or a reference, or the "
            "external_id of a balance."
        ),
    ],
    members: Annotated[
        str, typer.Argument(metavar="JSON", help="An object, e.g. '{\"note\": 1}'.")
    ],
    by: MadeBy = None,
    reference: OwnReference = None,
    wait: Wait = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Merge meta_data, key by key, over that of a ledger, balance, identity or transaction."""
    given, subject_id = meta_data_of(members) or {}, subject_named(subject)
    send(
        lambda client: client.merge_meta_data(subject_id, given, made_by=by, reference=reference),
        wait,
        as_json,
        dry_run,
    )
