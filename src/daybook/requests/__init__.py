"""What travels: requests as producers write them, their canonical form, and back.

A producer's request is validated by a pydantic model, all of its errors at once, and becomes a
*body*: canonical JSON of a version, equal for requests that mean the same. The fingerprint of a
request is the SHA-256 of its body. The worker decodes the body into an instruction of the engine;
a body that breaks a rule all the same becomes a recorded rejection.
"""

from daybook.requests.bounds import mint_id, ordering_key, slot_of, slot_of_transaction
from daybook.requests.decoding import Decoded, decode, fingerprint_of, reference_in
from daybook.requests.models import (
    REQUEST_MODELS,
    AnyRequest,
    BalanceRequest,
    CommitRequest,
    LedgerRequest,
    Request,
    TransactionRequest,
    VoidRequest,
    check_json_amount,
    load_json,
    validate,
)

__all__ = [
    "REQUEST_MODELS",
    "AnyRequest",
    "BalanceRequest",
    "CommitRequest",
    "Decoded",
    "LedgerRequest",
    "Request",
    "TransactionRequest",
    "VoidRequest",
    "check_json_amount",
    "decode",
    "fingerprint_of",
    "load_json",
    "mint_id",
    "ordering_key",
    "reference_in",
    "slot_of",
    "slot_of_transaction",
    "validate",
]
