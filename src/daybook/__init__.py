"""Daybook: a double-entry ledger fed by a queue.

Producers need ``Client`` (or ``AsyncClient``) and Redis. ``Reader`` and ``AsyncReader`` need the
database. What is named here is imported on first use: the command line, which begins here too,
needs little of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from daybook.errors import (
    ConfigError,
    DaybookError,
    ExtraMissing,
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

if TYPE_CHECKING:
    from daybook.client.async_client import AsyncClient
    from daybook.client.client import Client
    from daybook.client.receipts import AsyncReceipt, Outcome, Receipt
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
    from daybook.store.read.reader import AsyncReader as AsyncReader
    from daybook.store.read.reader import Reader as Reader

__version__ = "0.1.0"

# Not the readers: ``from daybook import *`` has to work where only a producer is installed.

__all__ = [
    "AsyncClient",
    "AsyncReceipt",
    "BalanceRequest",
    "BulkRequest",
    "CancelRequest",
    "ChangeRequest",
    "Client",
    "CommitRequest",
    "ConfigError",
    "DaybookError",
    "ExtraMissing",
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
    "Receipt",
    "ReferenceConflict",
    "RefundRequest",
    "SchemaOutdated",
    "StoreRefused",
    "StoreUnavailable",
    "TransactionRequest",
    "VoidRequest",
]

_MODULE_OF = {
    "AsyncClient": "daybook.client.async_client",
    "AsyncReader": "daybook.store.read.reader",
    "AsyncReceipt": "daybook.client.receipts",
    "Client": "daybook.client.client",
    "Outcome": "daybook.client.receipts",
    "Preview": "daybook.ledger.preview",
    "Reader": "daybook.store.read.reader",
    "Receipt": "daybook.client.receipts",
}


def __getattr__(name: str) -> Any:
    """A public name, imported on first use."""
    if name not in __all__ and name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF.get(name, "daybook.requests")), name)
    globals()[name] = value
    return value
