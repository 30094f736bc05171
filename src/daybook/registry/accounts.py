"""Accounts at banks: which balance a bank's account number stands for.

An account moves no money; transactions name its balance.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import JSON, Connection, Text, cast, literal, select
from sqlalchemy.dialects.postgresql import insert

from daybook.ledger.ids import bare
from daybook.requests.base import field_error, malformed
from daybook.requests.bounds import NAME_LENGTH_MAX
from daybook.requests.fields import MetaData, Name, canonical_meta_data
from daybook.requests.fields import Text as CleanText
from daybook.store.read.rows import account_view, columns_of, stored_id
from daybook.store.read.views import AccountView, BalanceView
from daybook.store.schema import accounts

_Label = Annotated[CleanText, Field(max_length=NAME_LENGTH_MAX)]


class NewAccount(BaseModel):
    """An account to be kept. number: as the bank has it; no two accounts have the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: Name
    bank_name: _Label = ""
    name: _Label = ""
    meta_data: MetaData = Field(default_factory=dict)


def new_account(given: Mapping[str, Any]) -> NewAccount:
    """An account of these fields. Raises MalformedRequest with every violation at once."""
    try:
        return NewAccount.model_validate(given)
    except ValidationError as fault:
        raise malformed([field_error(error) for error in fault.errors()]) from None


def create_account(
    connection: Connection, wanted: NewAccount, balance: BalanceView, now: datetime
) -> AccountView | None:
    """Keep an account of a balance; None when another has its number."""
    owner = balance.identity_id
    meta_data = canonical_meta_data(wanted.meta_data) if wanted.meta_data else None
    values = {
        "account_id": uuid4(),
        **wanted.model_dump(exclude={"meta_data"}),
        "currency": balance.currency,
        "balance_id": UUID(bare(balance.balance_id)),
        "ledger_id": balance.ledger_id,
        "identity_id": None if owner is None else UUID(bare(owner)),
        "created_at": now,
        "meta_data": cast(literal(meta_data, Text), JSON),
    }
    kept = insert(accounts).values(values).on_conflict_do_nothing(index_elements=["number"])
    made = connection.execute(kept.returning(accounts.c.account_id)).scalar_one_or_none()
    return None if made is None else _found(connection, accounts.c.account_id == made)


def find_account(connection: Connection, account_id: str) -> AccountView | None:
    """The account with an id."""
    return _found(connection, accounts.c.account_id == stored_id(account_id))


def has_number(connection: Connection, number: str) -> bool:
    """Whether there is an account with a number."""
    wanted = select(accounts.c.account_id).where(accounts.c.number == number)
    return connection.execute(wanted).first() is not None


def _found(connection: Connection, its: Any) -> AccountView | None:
    row = connection.execute(columns_of(accounts).where(its)).first()
    return None if row is None else account_view(row)
