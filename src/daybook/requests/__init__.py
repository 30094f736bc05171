"""What travels: requests as producers write them, their canonical form, and back.

A producer's request is validated by a pydantic model, all of its errors at once, and becomes a
*body*: canonical JSON of a version, equal for requests that mean the same. The fingerprint of a
request is the SHA-256 of its body. The worker decodes the body into an instruction of the engine;
a body that breaks a rule all the same becomes a recorded rejection.
"""

from daybook.requests.actions import (
    CancelRequest,
    ChangeRequest,
    CommitRequest,
    RefundRequest,
    VoidRequest,
    deadline_body,
)
from daybook.requests.base import Request
from daybook.requests.bulk import BulkRequest
from daybook.requests.common import Common, common_of
from daybook.requests.creations import BalanceRequest, IdentityRequest, LedgerRequest
from daybook.requests.decode.decode import decode, fingerprint_of, reference_in
from daybook.requests.kinds import Decoded
from daybook.requests.legs import LegRequest
from daybook.requests.models import (
    AnyRequest,
    check_json_amount,
    load_json,
    request_models,
    request_of,
    validate,
)
from daybook.requests.quarantine import resolve_body, resolve_id
from daybook.requests.routing import (
    mint_bulk_id,
    mint_id,
    ordering_key,
    slot_of,
    slot_of_transaction,
)
from daybook.requests.transactions import TransactionRequest

__all__ = [
    "AnyRequest",
    "BalanceRequest",
    "BulkRequest",
    "CancelRequest",
    "ChangeRequest",
    "CommitRequest",
    "Common",
    "Decoded",
    "IdentityRequest",
    "LedgerRequest",
    "LegRequest",
    "RefundRequest",
    "Request",
    "TransactionRequest",
    "VoidRequest",
    "check_json_amount",
    "common_of",
    "deadline_body",
    "decode",
    "fingerprint_of",
    "load_json",
    "mint_bulk_id",
    "mint_id",
    "ordering_key",
    "reference_in",
    "request_models",
    "request_of",
    "resolve_body",
    "resolve_id",
    "slot_of",
    "slot_of_transaction",
    "validate",
]
