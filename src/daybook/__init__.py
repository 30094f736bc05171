"""Daybook: a double-entry ledger fed by a queue.

Producers need ``Client`` (or ``AsyncClient``) and Redis; nothing here imports the database. What is
named here is imported on first use: the command line, which begins here too, needs little of it.
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
    LogUnavailable,
    MalformedRequest,
    NotFound,
    OutcomeUnknown,
    ReferenceConflict,
    SchemaOutdated,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from daybook.client.async_client import AsyncClient
    from daybook.client.client import Client
    from daybook.client.receipts import Outcome, Receipt
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

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
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
    "LogUnavailable",
    "MalformedRequest",
    "NotFound",
    "Outcome",
    "OutcomeUnknown",
    "Receipt",
    "ReferenceConflict",
    "RefundRequest",
    "SchemaOutdated",
    "StoreUnavailable",
    "TransactionRequest",
    "VoidRequest",
]

_MODULE_OF = {
    "AsyncClient": "daybook.client.async_client",
    "Client": "daybook.client.client",
    "Outcome": "daybook.client.receipts",
    "Receipt": "daybook.client.receipts",
}


def __getattr__(name: str) -> Any:
    """A public name, imported on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF.get(name, "daybook.requests")), name)
    globals()[name] = value
    return value
