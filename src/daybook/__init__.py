"""Daybook: a double-entry ledger fed by a queue.

Producers need ``Client`` (or ``AsyncClient``) and Redis; nothing here imports the database.
"""

from daybook.client.async_client import AsyncClient
from daybook.client.client import Client
from daybook.client.receipts import Outcome, Receipt
from daybook.errors import (
    ConfigError,
    DaybookError,
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
