"""What people call things: a transaction by its reference, a balance by its external_id, a ledger
by its name.

An id is taken as it is, and asks nobody. Anything else is looked up, first in the ledger, which
knows what was recorded, then in the log, which knows what is queued.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import typer

from daybook.cli.wiring import open_client, open_reading
from daybook.errors import ConfigError, NotFound, StoreUnavailable


def request_named(name: str) -> str:
    """The id of a request: ``name`` itself, or that of the one with this reference.

    Raises NotFound, LogUnavailable, StoreUnavailable.
    """
    from daybook.requests.bounds import GROUP_ID

    if GROUP_ID.match(name):
        return name
    found = _reference(name)
    if found is None:
        raise NotFound(f"no request has the reference {name!r}, and it is no id like txn_<uuid>")
    return found


def balance_named(name: str, currency: str | None = None) -> str:
    """What a request calls a balance: an id, an ``@Name``, or the id of an external_id.

    Raises NotFound, MalformedRequest when several balances have that external_id.
    """
    from daybook.requests.bounds import BALANCE_ID

    if name.startswith("@") or BALANCE_ID.match(name):
        return name
    from daybook.store.read.named import find_named_balance

    with open_reading() as connection:
        return find_named_balance(connection, name, currency).balance_id


def balance_if_known(name: str, currency: Any) -> str:
    """``balance_named``; what is not found stays, for the request to be refused with all else."""
    with suppress(NotFound, ConfigError, StoreUnavailable):
        return balance_named(name, currency if isinstance(currency, str) else None)
    return name


def ledger_named(name: str) -> str:
    """The id of a ledger: ``name`` itself, or that of the one with this name.

    Raises NotFound, MalformedRequest when several ledgers have that name.
    """
    from daybook.requests.bounds import LEDGER_ID

    if LEDGER_ID.match(name):
        return name
    from daybook.store.read.named import find_named_ledger

    with open_reading() as connection:
        return find_named_ledger(connection, name).ledger_id


def ledger_if_known(name: str) -> str:
    """``ledger_named``; what is not found stays, for the request to be refused with all else."""
    with suppress(NotFound, ConfigError, StoreUnavailable):
        return ledger_named(name)
    return name


def subject_named(name: str) -> str:
    """The id of what a change is about: any id, a reference, or a balance's external_id or @Name.

    Raises NotFound, BadParameter or MalformedRequest when it could be several things.
    """
    from daybook.ledger.balance import GENERAL_LEDGER_ID
    from daybook.requests.bounds import ANY_ID

    if ANY_ID.match(name) or name == GENERAL_LEDGER_ID:
        return name
    balance = _internal(name) if name.startswith("@") else _external(name)
    found = [each for each in (_reference(name), balance) if each is not None]
    if len(found) > 1:
        raise typer.BadParameter(f"{name} is a reference and a balance: give the id")
    if not found:
        raise NotFound(f"nothing is called {name!r}: it is no id, no reference, no external_id")
    return found[0]


def _internal(name: str) -> str | None:
    from daybook.store.read.queries import list_balances

    with open_reading() as connection:
        found = list_balances(connection, indicator=name, limit=2)
    if len(found) > 1:
        raise typer.BadParameter(
            f"{name} exists once for each currency: give the id of one, as `daybook balances "
            f"--indicator {name}` lists them"
        )
    return found[0].balance_id if found else None


def _external(name: str) -> str | None:
    from daybook.store.read.named import find_external_balance

    with suppress(NotFound), open_reading() as connection:
        return find_external_balance(connection, name).balance_id
    return None


def _reference(name: str) -> str | None:
    """The id of the request with this reference, or label.

    Any producer may write what the log says of a reference, so it is asked only for what the ledger
    does not know. A reader has no log, a producer no database: then the other alone is asked.
    """
    for look in (_in_ledger, _in_log):
        with suppress(ConfigError):
            found = look(name)
            if found is not None:
                return found
    return None


def _in_log(reference: str) -> str | None:
    with open_client() as client:
        try:
            return client.status(reference=reference).transaction_id
        except NotFound:
            return None


def _in_ledger(reference: str) -> str | None:
    from daybook.store.read import queries

    with open_reading() as connection:
        found: Any = queries.find_transaction(connection, reference=reference)
    return None if found is None else str(found.transaction_id)
