"""Requests that create ledgers, balances and identities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from daybook.errors import FieldError
from daybook.ledger.balance import GENERAL_LEDGER_ID, internal_balance_id, may_be_internal
from daybook.ledger.identity import IDENTITY_FIELDS
from daybook.ledger.instructions import Kind
from daybook.ledger.rejection import Reason
from daybook.requests.base import Request, with_meta_data
from daybook.requests.bounds import BALANCE_ID
from daybook.requests.fields import (
    BalanceId,
    Currency,
    IdentityId,
    IdentityText,
    Indicator,
    LedgerId,
    MetaData,
    Name,
    external_id_fault,
    is_clean,
)
from daybook.requests.routing import slot_of


class LedgerRequest(Request):
    """Ask for a ledger. ledger_id: the id to use; minted when absent."""

    kind: ClassVar[Kind] = Kind.LEDGER

    name: Name
    ledger_id: LedgerId | None = None
    meta_data: MetaData | None = None

    @property
    def slot(self) -> int:
        """The slot of the ledger's own id."""
        return slot_of(self.ledger_id or "")

    def canonical_fields(self) -> dict[str, Any]:
        return with_meta_data({"ledger_id": self.ledger_id, "name": self.name}, self.meta_data)


class BalanceRequest(Request):
    """Ask for a balance in a ledger.

    balance_id: the id to use; minted when absent. indicator: only in the General Ledger; the id
    of an internal balance follows from its indicator and currency. identity_id: its owner.
    """

    kind: ClassVar[Kind] = Kind.BALANCE

    ledger_id: LedgerId
    currency: Currency
    balance_id: BalanceId | None = None
    indicator: Indicator | None = None
    identity_id: IdentityId | None = None
    meta_data: MetaData | None = None

    @property
    def slot(self) -> int:
        """The slot of the balance's own id, as a request that debits it would have."""
        return slot_of(self.indicator or self.balance_id or "")

    def canonical_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "balance_id": self.balance_id,
            "ledger_id": self.ledger_id,
            "currency": self.currency,
        }
        if self.indicator is not None:
            fields["indicator"] = self.indicator
        if self.identity_id is not None:
            fields["identity_id"] = self.identity_id
        return with_meta_data(fields, self.meta_data)

    @classmethod
    def cross_checks(cls, given: Mapping[str, Any]) -> list[FieldError]:
        indicator, currency = given.get("indicator"), given.get("currency")
        balance_id = given.get("balance_id")
        fault = external_id_fault(given.get("meta_data"))
        errors = [FieldError("meta_data", Reason.MALFORMED, fault)] if fault else []
        if indicator is None and isinstance(balance_id, str) and BALANCE_ID.match(balance_id):
            return errors + _reserved(balance_id)
        if not isinstance(indicator, str) or not isinstance(currency, str):
            return errors
        if given.get("ledger_id") != GENERAL_LEDGER_ID:
            message = f"internal balances live in the General Ledger: use {GENERAL_LEDGER_ID}"
            errors.append(FieldError("indicator", Reason.MALFORMED, message))
        if not (is_clean(indicator) and is_clean(currency)):
            return errors  # said of the field itself
        derived = internal_balance_id(indicator, currency)
        if given.get("balance_id") not in (None, derived):
            message = f"{indicator} in {currency} is {derived}"
            errors.append(FieldError("balance_id", Reason.MALFORMED, message))
        return errors


def _reserved(balance_id: str) -> list[FieldError]:
    """Ids of internal balances follow from their indicators: nobody else may take one."""
    if not may_be_internal(balance_id):
        return []
    message = "is a UUID of version 8, which internal balances have; use another version"
    return [FieldError("balance_id", Reason.MALFORMED, message)]


class IdentityRequest(Request):
    """Ask for an identity: a person or an organisation that owns balances.

    identity_id: the id to use; minted when absent. The other fields are texts, all optional; an
    empty one says nothing.
    """

    kind: ClassVar[Kind] = Kind.IDENTITY

    identity_id: IdentityId | None = None
    identity_type: IdentityText | None = None
    first_name: IdentityText | None = None
    last_name: IdentityText | None = None
    other_names: IdentityText | None = None
    organization_name: IdentityText | None = None
    category: IdentityText | None = None
    gender: IdentityText | None = None
    dob: IdentityText | None = None
    email_address: IdentityText | None = None
    phone_number: IdentityText | None = None
    nationality: IdentityText | None = None
    street: IdentityText | None = None
    city: IdentityText | None = None
    state: IdentityText | None = None
    post_code: IdentityText | None = None
    country: IdentityText | None = None
    meta_data: MetaData | None = None

    @property
    def slot(self) -> int:
        """The slot of the identity's own id."""
        return slot_of(self.identity_id or "")

    def canonical_fields(self) -> dict[str, Any]:
        given = ((name, getattr(self, name)) for name in IDENTITY_FIELDS)
        fields = {"identity_id": self.identity_id, **{name: text for name, text in given if text}}
        return with_meta_data(fields, self.meta_data)
