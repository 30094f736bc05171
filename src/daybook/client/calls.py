"""What can be asked of the ledger: a method for each kind of request, the same in both clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar, Unpack, overload

from daybook.client.drafts import given_request
from daybook.client.fields import Moment, TransactionFields
from daybook.requests import (
    BalanceRequest,
    BulkRequest,
    CancelRequest,
    ChangeRequest,
    CommitRequest,
    IdentityRequest,
    LedgerRequest,
    RefundRequest,
    Request,
    TransactionRequest,
    VoidRequest,
    validate,
)

ReceiptT = TypeVar("ReceiptT")
MetaData = Mapping[str, Any]


class Calls(Generic[ReceiptT]):
    """The calls of a client: each makes one request and hands it to ``enqueue``.

    Of ``AsyncClient`` every method is awaited. All raise what ``enqueue`` raises.
    """

    @overload
    def enqueue(self, request: Request | Mapping[str, Any], /) -> ReceiptT: ...

    @overload
    def enqueue(self, /, **fields: Unpack[TransactionFields]) -> ReceiptT: ...

    def enqueue(
        self, request: Request | Mapping[str, Any] | None = None, /, **fields: Any
    ) -> ReceiptT:
        """Append one request to the log.

        request: a request, or a mapping of its fields; or give the fields of a transaction as
        keywords. ``kind`` among them says what is asked for: a transaction by default, a bulk when
        there are ``transactions``. Once this returns, the request survives the death of any
        process.

        While Redis is away, or when its reply was lost, the same is sent again for up to
        DAYBOOK_RETRY_SECONDS_MAX. Raises MalformedRequest, ReferenceConflict, LogFull,
        LogUnavailable (whether it was accepted is unknown: send the same again).
        """
        return self._submit(given_request(request, fields))

    def _submit(self, request: Request | Mapping[str, Any]) -> ReceiptT:
        """What becomes of any request."""
        raise NotImplementedError

    def create_ledger(
        self, name: str, *, ledger_id: str | None = None, meta_data: MetaData | None = None
    ) -> ReceiptT:
        """Ask for a ledger; ``receipt.id`` can be used by the very next request."""
        return self._ask(LedgerRequest, name=name, ledger_id=ledger_id, meta_data=meta_data)

    def create_balance(
        self,
        ledger_id: str,
        currency: str,
        *,
        balance_id: str | None = None,
        indicator: str | None = None,
        identity_id: str | None = None,
        meta_data: MetaData | None = None,
    ) -> ReceiptT:
        """Ask for a balance; ``receipt.id`` can be used by the very next request.

        identity_id: of its owner.
        """
        return self._ask(
            BalanceRequest,
            ledger_id=ledger_id,
            currency=currency,
            balance_id=balance_id,
            indicator=indicator,
            identity_id=identity_id,
            meta_data=meta_data,
        )

    def create_identity(
        self, *, identity_id: str | None = None, meta_data: MetaData | None = None, **fields: str
    ) -> ReceiptT:
        """Ask for an identity, an owner of balances; ``receipt.id`` can be used at once.

        fields: what is known of it: ``first_name="Ada"``, ``organization_name=…`` and so on.
        """
        return self._ask(IdentityRequest, identity_id=identity_id, meta_data=meta_data, **fields)

    def commit(
        self,
        transaction_id: str,
        *,
        amount: Any = None,
        precise_amount: Any = None,
        rounding: str | None = None,
        reference: str | None = None,
        description: str = "",
        effective_date: Moment | None = None,
        meta_data: MetaData | None = None,
    ) -> ReceiptT:
        """Ask to post a hold: its remainder, or ``amount`` / ``precise_amount`` of it.

        transaction_id: the hold; or a request with legs, or a bulk: then all of its holds.
        rounding: ``half_up`` rounds an amount that the hold's precision can't hold.
        effective_date: when it counts for history; default: when it is accepted.
        """
        return self._ask(
            CommitRequest,
            transaction_id=transaction_id,
            amount=amount,
            precise_amount=precise_amount,
            rounding=rounding,
            reference=reference,
            description=description,
            effective_date=effective_date,
            meta_data=meta_data,
        )

    def void(
        self,
        transaction_id: str,
        *,
        reference: str | None = None,
        description: str = "",
        effective_date: Moment | None = None,
        meta_data: MetaData | None = None,
    ) -> ReceiptT:
        """Ask to release the remainder of a hold, or of all holds of a request.

        effective_date: the date of its record; default: when it is accepted.
        """
        return self._ask(
            VoidRequest,
            transaction_id=transaction_id,
            reference=reference,
            description=description,
            effective_date=effective_date,
            meta_data=meta_data,
        )

    def refund(
        self,
        transaction_id: str,
        *,
        reference: str | None = None,
        description: str = "",
        effective_date: Moment | None = None,
        meta_data: MetaData | None = None,
    ) -> ReceiptT:
        """Ask to reverse an applied transaction in full, or all that a request has posted.

        effective_date: when it counts for history; default: when it is accepted.
        """
        return self._ask(
            RefundRequest,
            transaction_id=transaction_id,
            reference=reference,
            description=description,
            effective_date=effective_date,
            meta_data=meta_data,
        )

    def cancel(
        self,
        transaction_id: str,
        *,
        reference: str | None = None,
        description: str = "",
        meta_data: MetaData | None = None,
    ) -> ReceiptT:
        """Ask to withdraw a scheduled transaction before its time."""
        return self._ask(
            CancelRequest,
            transaction_id=transaction_id,
            reference=reference,
            description=description,
            meta_data=meta_data,
        )

    def bulk(
        self,
        transactions: Sequence[TransactionRequest | Mapping[str, Any]],
        *,
        atomic: bool = False,
        inflight: bool = False,
        reference: str | None = None,
        bulk_id: str | None = None,
        description: str = "",
        effective_date: Moment | None = None,
        meta_data: MetaData | None = None,
        ordering_key: str | None = None,
    ) -> ReceiptT:
        """Ask for up to 10,000 transactions, in their order.

        atomic: all of them or none. inflight: every one is a hold. reference: by default made
        from the content, so that the same bulk sent again is the same. description,
        effective_date: also of those transactions that have none of their own.
        """
        return self._ask(
            BulkRequest,
            transactions=list(transactions),
            atomic=atomic,
            inflight=inflight,
            reference=reference,
            bulk_id=bulk_id,
            description=description,
            effective_date=effective_date,
            meta_data=meta_data,
            ordering_key=ordering_key,
        )

    def change(
        self,
        subject_id: str,
        *,
        fields: Mapping[str, Any] | None = None,
        meta_data: MetaData | None = None,
        made_by: str | None = None,
        reference: str | None = None,
    ) -> ReceiptT:
        """Ask to change what is not money about a ledger, balance, identity or transaction.

        fields: of a ledger ``name``, of a balance ``identity_id``, of an identity its own.
        meta_data: merged by key over what is there. made_by: who asks for it.
        """
        return self._ask(
            ChangeRequest,
            subject_id=subject_id,
            fields=fields,
            meta_data=meta_data,
            made_by=made_by,
            reference=reference,
        )

    def rename_ledger(
        self, ledger_id: str, name: str, *, made_by: str | None = None, reference: str | None = None
    ) -> ReceiptT:
        """Ask for another name of a ledger."""
        return self.change(ledger_id, fields={"name": name}, made_by=made_by, reference=reference)

    def link_identity(
        self,
        balance_id: str,
        identity_id: str,
        *,
        made_by: str | None = None,
        reference: str | None = None,
    ) -> ReceiptT:
        """Ask to make an identity the owner of a balance."""
        fields = {"identity_id": identity_id}
        return self.change(balance_id, fields=fields, made_by=made_by, reference=reference)

    def merge_meta_data(
        self,
        subject_id: str,
        meta_data: MetaData,
        *,
        made_by: str | None = None,
        reference: str | None = None,
    ) -> ReceiptT:
        """Ask to merge ``meta_data`` by key over what is there.

        subject_id: a ledger, balance, identity or transaction.
        """
        return self.change(subject_id, meta_data=meta_data, made_by=made_by, reference=reference)

    def _ask(self, model: type[Request], **fields: Any) -> ReceiptT:
        given = {name: value for name, value in fields.items() if value is not None}
        return self._submit(validate(model, given))


__all__ = ["Calls"]
