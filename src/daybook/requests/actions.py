"""Requests about what was recorded before: commits, voids, refunds, cancels and changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from daybook.errors import FieldError
from daybook.ledger.identity import IDENTITY_FIELDS
from daybook.ledger.instructions import Kind
from daybook.ledger.money import plain_text
from daybook.ledger.rejection import Reason
from daybook.requests.base import Request, amount_choice, iso, json_text, with_meta_data
from daybook.requests.bounds import (
    BODY_VERSION,
    GROUP_ID,
    IDENTITY_FIELD_LENGTH_MAX,
    IDENTITY_ID,
    NAME_LENGTH_MAX,
)
from daybook.requests.fields import (
    Amount,
    Description,
    GroupId,
    MadeBy,
    MetaData,
    Moment,
    PreciseAmount,
    Reference,
    Rounding,
    SubjectId,
    TransactionId,
    canonical_meta_data,
    external_id_fault,
    is_clean,
)
from daybook.requests.naming import naming_fault
from daybook.requests.routing import slot_of, slot_of_transaction


class _Action(Request):
    """A request that names a transaction, whose partition it finds by the slot in the id."""

    transaction_id: GroupId
    reference: Reference | None = None
    description: Description = ""
    meta_data: MetaData | None = None

    @property
    def slot(self) -> int:
        """The slot of the transaction that it names."""
        return slot_of_transaction(self.transaction_id)

    def canonical_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"transaction_id": self.transaction_id}
        if self.reference is not None:
            fields["reference"] = self.reference
        if self.description:
            fields["description"] = self.description
        return with_meta_data(fields, self.meta_data)


class _DatedAction(_Action):
    """An action that moves money, or ends what was held, and counts for history at its own date."""

    effective_date: Moment | None = None

    def canonical_fields(self) -> dict[str, Any]:
        fields = super().canonical_fields()
        if self.effective_date is not None:
            fields["effective_date"] = iso(self.effective_date)
        return fields


class CommitRequest(_DatedAction):
    """Ask to post the remainder of a hold, or a part of it.

    transaction_id: the hold; or the request with legs, or the bulk, whose holds are committed.
    amount (major units) or precise_amount (minor units): the part; neither: the whole remainder.
    rounding: ``half_up`` rounds an amount that the hold's precision can't hold; without it such a
    commit is rejected.
    reference: makes the commit idempotent by itself.
    effective_date: when it counts for history; default: when it is accepted.
    """

    kind: ClassVar[Kind] = Kind.COMMIT

    amount: Amount | None = None
    precise_amount: PreciseAmount | None = None
    rounding: Rounding | None = None

    def canonical_fields(self) -> dict[str, Any]:
        fields = super().canonical_fields()
        if self.amount is not None:
            fields["amount"] = plain_text(self.amount)
            if self.rounding is not None and "." in fields["amount"]:  # what is whole always fits
                fields["rounding"] = self.rounding
        if self.precise_amount is not None:
            fields["precise_amount"] = str(self.precise_amount)
        return fields

    @classmethod
    def cross_checks(cls, given: Mapping[str, Any]) -> list[FieldError]:
        return amount_choice(given, required=False) or amount_of_bulk(given)


def amount_of_bulk(given: Mapping[str, Any]) -> list[FieldError]:
    """The holds of a bulk have nothing to do with each other: no amount is meant for them all."""
    named = given.get("transaction_id")
    if not isinstance(named, str) or not named.startswith("bulk_"):
        return []
    message = "a bulk is committed whole: remove it, or commit one of its transactions"
    return [
        FieldError(name, Reason.INVALID_AMOUNT, message)
        for name in ("amount", "precise_amount")
        if given.get(name) is not None
    ]


class VoidRequest(_DatedAction):
    """Ask to release the whole remainder of a hold, or of each hold of a request.

    transaction_id: the hold, the request with legs, or the bulk.
    effective_date: the date of its record; default: when it is accepted.
    """

    kind: ClassVar[Kind] = Kind.VOID


class RefundRequest(_DatedAction):
    """Ask to reverse an applied transaction in full.

    transaction_id: the transaction, the commit of a hold, the request with legs, or the bulk.
    effective_date: when it counts for history; default: when it is accepted.
    meta_data: merged over that of the original.
    """

    kind: ClassVar[Kind] = Kind.REFUND


class CancelRequest(_Action):
    """Ask to withdraw a scheduled transaction before its time."""

    kind: ClassVar[Kind] = Kind.CANCEL

    transaction_id: TransactionId


class ChangeRequest(Request):
    """Ask to change what is not money about a ledger, balance, identity or transaction.

    subject_id: what is changed. fields: what to set: of a ledger ``name``, of a balance
    ``identity_id``, of an identity its fields. meta_data: merged by key over what is there.
    made_by: who asks for it. reference: makes the change idempotent by itself.
    """

    kind: ClassVar[Kind] = Kind.CHANGE

    subject_id: SubjectId
    reference: Reference | None = None
    fields: MetaData | None = None
    meta_data: MetaData | None = None
    made_by: MadeBy = ""

    @property
    def slot(self) -> int:
        """The slot of the subject: in the id of a transaction, else of its id."""
        return slot_of_subject(self.subject_id)

    def canonical_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"subject_id": self.subject_id}
        if self.reference is not None:
            fields["reference"] = self.reference
        if self.fields:
            fields["fields"] = canonical_meta_data(self.fields)
        if self.made_by:
            fields["made_by"] = self.made_by
        return with_meta_data(fields, self.meta_data)

    @classmethod
    def cross_checks(cls, given: Mapping[str, Any]) -> list[FieldError]:
        errors = []
        if not given.get("fields") and not given.get("meta_data"):
            errors.append(FieldError("fields", Reason.MALFORMED, "or meta_data is required"))
        subject_id, fields = given.get("subject_id"), given.get("fields")
        if isinstance(subject_id, str) and isinstance(fields, Mapping):
            errors += changed_field_errors(subject_id, fields)
        if isinstance(subject_id, str):
            errors += changed_meta_errors(subject_id, given.get("meta_data"))
        return errors


def slot_of_subject(subject_id: str) -> int:
    """The slot of a change of this ledger, balance, identity, transaction or bulk."""
    return slot_of_transaction(subject_id) if GROUP_ID.match(subject_id) else slot_of(subject_id)


_CHANGEABLE: dict[str, tuple[str, tuple[str, ...]]] = {
    "ldg": ("a ledger", ("name",)),
    "general": ("a ledger", ("name",)),
    "bln": ("a balance", ("identity_id",)),
    "idt": ("an identity", IDENTITY_FIELDS),
}


def changed_field_errors(subject_id: str, fields: Mapping[str, Any]) -> list[FieldError]:
    """What is wrong with the fields that a change sets."""
    kind, names = _CHANGEABLE.get(subject_id.partition("_")[0], ("a transaction", ()))
    errors = []
    for name, value in fields.items():
        message: str | None = f"is nothing that can be changed about {kind}; remove it"
        if name in names:
            message = _wrong_value(name, value)
        if message:
            errors.append(FieldError(f"fields.{name}", Reason.MALFORMED, message))
    return errors


def changed_meta_errors(subject_id: str, meta_data: Any) -> list[FieldError]:
    """What is wrong with the meta_data that a change merges: an external_id of a balance."""
    fault = external_id_fault(meta_data) if subject_id.startswith("bln_") else None
    return [FieldError("meta_data", Reason.MALFORMED, fault)] if fault else []


def _wrong_value(name: str, value: Any) -> str | None:
    if not isinstance(value, str):
        return "must be text"
    if not is_clean(value):
        return "contains a NUL character or a lone surrogate; send valid Unicode"
    if name == "identity_id":
        return None if IDENTITY_ID.match(value) else "must look like idt_<uuid>, in lower case"
    if name == "name" and (fault := naming_fault(value)):
        return fault
    longest = NAME_LENGTH_MAX if name == "name" else IDENTITY_FIELD_LENGTH_MAX
    return None if len(value) <= longest else f"is longer than {longest} characters"


def deadline_body(transaction_id: str) -> bytes:
    """The body by which the sweeper applies the date of a hold.

    Its request id is ``part_id(transaction_id, "deadline")``.
    """
    fields = {"v": BODY_VERSION, "kind": Kind.DEADLINE.value, "transaction_id": transaction_id}
    return json_text(fields).encode()
