"""The request that posts many transactions in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from daybook.errors import FieldError
from daybook.ledger.instructions import Kind
from daybook.ledger.rejection import Reason
from daybook.requests.base import Request, iso, json_text, with_meta_data, wrong_slot
from daybook.requests.bounds import BULK_BODY_BYTES_MAX, BULK_ITEMS_MAX
from daybook.requests.fields import (
    BulkId,
    Description,
    MetaData,
    Moment,
    OrderingKey,
    Reference,
)
from daybook.requests.routing import ordering_key_of, slot_of, slot_of_transaction, slots_moved
from daybook.requests.transactions import TransactionRequest

Items = Annotated[tuple[TransactionRequest, ...], Field(min_length=1, max_length=BULK_ITEMS_MAX)]
OWN_FIELDS = ("transaction_id", "scheduled_for", "ordering_key")
"""Fields that a transaction has only when it is sent on its own."""

_OWN = frozenset(OWN_FIELDS)


class BulkRequest(Request):
    """Ask to post many transactions in order.

    transactions: 1 to 10,000, each as in ``TransactionRequest``, without ``transaction_id``,
    ``scheduled_for`` and ``ordering_key``.
    atomic: all of them or none; else each on its own. inflight: every one of them is a hold.
    reference: the key of idempotency of the bulk; default: derived from what it posts, so that
    the same bulk sent again is the same.
    description, effective_date: of the bulk, and of each of its transactions that has none of its
    own.
    ordering_key: the bulk keeps its order among the requests of this key, beside those of all
    balances that it spends from; default: the application balance of the first transaction.
    bulk_id: the id to use; minted when absent.
    """

    kind: ClassVar[Kind] = Kind.BULK
    not_in_body: ClassVar[frozenset[str]] = frozenset({"bulk_id"})

    transactions: Items
    atomic: StrictBool = False
    inflight: StrictBool = False
    reference: Reference | None = None
    description: Description = ""
    effective_date: Moment | None = None
    meta_data: MetaData | None = None
    ordering_key: OrderingKey | None = None
    bulk_id: BulkId | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        """A bulk always has a reference, and its transactions nothing that is the bulk's."""
        if any(item.model_fields_set & _OWN for item in self.transactions) and any(
            item_errors(item.__dict__) for item in self.transactions
        ):
            message = f"a transaction of a bulk has no {', '.join(OWN_FIELDS)}"
            raise PydanticCustomError(Reason.MALFORMED.value, message)
        if self.reference is None:
            content = json_text(
                {"atomic": self.atomic, "transactions": self._items, **self._defaults}
            )
            self.__dict__["reference"] = f"bulk-{sha256(content.encode()).hexdigest()}"
        return self

    @cached_property
    def _items(self) -> list[dict[str, Any]]:
        held = {"inflight": True} if self.inflight else {}
        return [item.canonical_fields() | held for item in self.transactions]

    @property
    def _defaults(self) -> dict[str, Any]:
        """What its transactions have where they have none of their own."""
        fields: dict[str, Any] = {}
        if self.description:
            fields["description"] = self.description
        if self.effective_date is not None:
            fields["effective_date"] = iso(self.effective_date)
        return fields

    @cached_property
    def slot(self) -> int:
        """The slot of the ordering key, or of the first transaction."""
        first = self.transactions[0]
        key = self.ordering_key
        return slot_of(key or ordering_key_of(first.source_names, first.destination_names))

    @cached_property
    def slots(self) -> frozenset[int]:
        """Its own slot, and those of all application balances that it spends from."""
        return frozenset(
            (
                self.slot,
                *(
                    slot
                    for item in self.transactions
                    for slot in slots_moved(item.source_names, item.destination_names)
                ),
            )
        )

    @property
    def body_bytes_max(self) -> int:
        """How long its body may be."""
        return BULK_BODY_BYTES_MAX

    def canonical_fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"reference": self.reference, "transactions": self._items}
        fields |= self._defaults
        if self.atomic:
            fields["atomic"] = True
        if self.ordering_key is not None:
            fields["ordering_key"] = self.ordering_key
        return with_meta_data(fields, self.meta_data)

    def late_checks(self) -> list[FieldError]:
        errors = []
        if self.bulk_id is not None and slot_of_transaction(self.bulk_id) != self.slot:
            errors.append(wrong_slot("bulk_id", self.slot))
        return errors


def item_errors(given: Mapping[str, Any]) -> list[FieldError]:
    """Fields of a transaction of a bulk that it can't have there."""
    message = "is not a field of a transaction in a bulk; remove it"
    return [
        FieldError(name, Reason.MALFORMED, message)
        for name in OWN_FIELDS
        if given.get(name) is not None
    ]


def repeated_references(references: Sequence[Any], own: Any) -> list[FieldError]:
    """A reference names one transaction: neither another of the same bulk nor the bulk itself.

    references: those of the items, in order; own: that of the bulk, if it has one.
    """
    errors = []
    seen: dict[str, int] = {}
    for place, reference in enumerate(references):
        if not isinstance(reference, str):
            continue
        first = seen.setdefault(reference, place)
        if first != place:
            message = f"is the reference of transactions[{first}], too; give each its own"
        elif reference == own:
            message = "is the reference of the bulk itself; give each its own"
        else:
            continue
        errors.append(FieldError(f"transactions[{place}].reference", Reason.MALFORMED, message))
    return errors
