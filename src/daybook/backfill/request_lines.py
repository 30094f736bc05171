"""Lines that are requests themselves, of any kind, as JSON: a file that needs no mapping."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from daybook.backfill.lines import REJECTED, Line, Reject
from daybook.backfill.ordering import GroupKey, OrderKey
from daybook.backfill.rows import Row
from daybook.client.drafts import check_effective_dates
from daybook.errors import FieldError, MalformedRequest
from daybook.ledger.rejection import Reason
from daybook.requests import (
    BalanceRequest,
    BulkRequest,
    IdentityRequest,
    LedgerRequest,
    Request,
    TransactionRequest,
    check_json_amount,
    mint_bulk_id,
    mint_id,
    request_of,
)
from daybook.requests.models import malformed


class RequestLines:
    """Takes each row as the mapping of a request. now: seconds since the epoch.

    The members that a rejects file adds are none of a request.
    A file may be run again, so each request must say what makes it the same one then: a
    reference, or the id of what it creates.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self.order_key: OrderKey | None = None
        self.group_key: GroupKey | None = None

    def ledger_request(self) -> LedgerRequest | None:
        """None: the lines themselves create what they need."""
        return None

    def balance_request(self, balance_id: str, key: str, currency: str) -> BalanceRequest:
        """Never asked for: no line names a balance by a key."""
        raise NotImplementedError(balance_id, key, currency)

    def lines(self, rows: Iterable[Row]) -> Iterator[Line | Reject]:
        """The requests of rows, in order."""
        return map(self.build, rows)

    def build(self, row: Row) -> Line | Reject:
        """The request of a row, or everything that is wrong with it."""
        if row.fault is not None:
            return Reject(row, Reason.MALFORMED, row.fault, None)
        try:
            fields = {name: row.columns[name] for name in row.columns if name not in REJECTED}
            check_json_amount(fields)
            request = request_of(fields)
            check_effective_dates(request, self._now())
            _check_name(request)
        except MalformedRequest as fault:
            reference = row.columns.get("reference")
            named = reference if isinstance(reference, str) else None
            return Reject(row, fault.code, str(fault), named)
        named_request, own_id = _with_own_id(request)
        return Line((row,), named_request, own_id=own_id)


def _check_name(request: Request) -> None:
    if isinstance(request, LedgerRequest):
        field, given = "ledger_id", request.ledger_id
    elif isinstance(request, BalanceRequest):
        field, given = "balance_id", request.balance_id or request.indicator
    elif isinstance(request, IdentityRequest):
        field, given = "identity_id", request.identity_id
    else:
        field, given = "reference", getattr(request, "reference", None)
    if given is None:
        message = "is required in a file: run again, the line would be another request"
        raise malformed([FieldError(field, Reason.MALFORMED, message)])


def _with_own_id(request: Request) -> tuple[Request, str | None]:
    """The request with an id made for this run, where the file gives none."""
    if isinstance(request, TransactionRequest) and request.transaction_id is None:
        own_id = mint_id("txn", request.slot)
        return request.model_copy(update={"transaction_id": own_id}), own_id
    if isinstance(request, BulkRequest) and request.bulk_id is None:
        own_id = mint_bulk_id(request.slot)
        return request.model_copy(update={"bulk_id": own_id}), own_id
    return request, None
