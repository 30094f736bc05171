"""A balance or a ledger by what people call it: the one place that decides what a name means."""

from __future__ import annotations

from sqlalchemy import Connection

from daybook.errors import NotFound
from daybook.ledger.balance import internal_balance_id
from daybook.requests.bounds import BALANCE_ID
from daybook.store.read.queries import find_balance, list_balances, list_ledgers
from daybook.store.read.rows import bad_value
from daybook.store.read.views import BalanceView, LedgerView


def find_named_balance(
    connection: Connection, name: str, currency: str | None = None
) -> BalanceView:
    """The balance of an id, of ``@Name`` with its currency, or of an external_id.

    What begins with ``bln_`` is an id or nothing. Raises NotFound; MalformedRequest when ``@Name``
    comes without currency, or several balances have the external_id.
    """
    if not name.startswith(("@", "bln_")):
        return find_external_balance(connection, name, currency)
    if name.startswith("@") and currency is None:
        raise bad_value("currency", f"is required: {name} exists once for each currency")
    balance_id = internal_balance_id(name, currency or "") if name.startswith("@") else name
    found = find_balance(connection, balance_id) if BALANCE_ID.match(balance_id) else None
    if found is None:
        raise _not_found(name, currency)
    return found


def find_external_balance(
    connection: Connection, external_id: str, currency: str | None = None
) -> BalanceView:
    """The one balance with this external_id. Raises NotFound, MalformedRequest for several."""
    found = list_balances(connection, external_id=external_id, currency=currency, limit=2)
    if not found:
        raise _not_found(external_id, currency)
    if len(found) > 1:
        raise bad_value("name", f"several balances have external_id {external_id}: give the id")
    return found[0]


def find_named_ledger(connection: Connection, name: str) -> LedgerView:
    """The one ledger of this name. Raises NotFound, MalformedRequest for several."""
    found = list_ledgers(connection, name=name, limit=2)
    if not found:
        raise NotFound(
            f"there is no ledger {name}: a ledger is called by its id (ldg_<uuid>) or its name; "
            "list those that are with `daybook ledgers`"
        )
    if len(found) > 1:
        raise bad_value("ledger", f"several ledgers are called {name}: give the id")
    return found[0]


def _not_found(name: str, currency: str | None) -> NotFound:
    wanted = f"{name} {currency or ''}".strip()
    return NotFound(
        f"there is no balance {wanted}: a balance is called by its id (bln_<uuid>), as @Name with "
        "its currency, or by its meta_data.external_id; list those that are with `daybook balances`"
    )
