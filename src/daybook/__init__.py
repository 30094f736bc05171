"""Daybook: a double-entry ledger fed by a queue.

Producers need ``Client`` (or ``AsyncClient``) and Redis. ``Reader`` and ``AsyncReader`` need the
database, whose library is imported when one of them is first asked for.
"""

from typing import TYPE_CHECKING, Any

from daybook.client.async_client import AsyncClient
from daybook.client.client import Client
from daybook.client.receipts import AsyncReceipt, Outcome, Receipt
from daybook.errors import (
    ConfigError,
    DaybookError,
    FieldError,
    LogFull,
    LogNotInstalled,
    LogRefused,
    LogUnavailable,
    MalformedRequest,
    NotFound,
    OutcomeUnknown,
    ReferenceConflict,
    SchemaOutdated,
    StoreRefused,
    StoreUnavailable,
)
from daybook.ledger.preview import Preview
from daybook.requests import (
    BalanceRequest,
    BulkRequest,
    CancelRequest,
    ChangeRequest,
    CommitRequest,
    IdentityRequest,
    LedgerRequest,
    LegRequest,
    RefundRequest,
    TransactionRequest,
    VoidRequest,
)

if TYPE_CHECKING:
    from daybook.store.read.reader import AsyncReader, Reader

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "AsyncReader",
    "AsyncReceipt",
    "BalanceRequest",
    "BulkRequest",
    "CancelRequest",
    "ChangeRequest",
    "Client",
    "CommitRequest",
    "ConfigError",
    "DaybookError",
    "FieldError",
    "IdentityRequest",
    "LedgerRequest",
    "LegRequest",
    "LogFull",
    "LogNotInstalled",
    "LogRefused",
    "LogUnavailable",
    "MalformedRequest",
    "NotFound",
    "Outcome",
    "OutcomeUnknown",
    "Preview",
    "Reader",
    "Receipt",
    "ReferenceConflict",
    "RefundRequest",
    "SchemaOutdated",
    "StoreRefused",
    "StoreUnavailable",
    "TransactionRequest",
    "VoidRequest",
]


def __getattr__(name: str) -> Any:
    if name in ("AsyncReader", "Reader"):
        from daybook.store.read import reader

        return getattr(reader, name)
    raise AttributeError(f"module 'daybook' has no attribute {name!r}")
