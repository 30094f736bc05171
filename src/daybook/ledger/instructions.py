"""Instructions: what is asked of the ledger.

Named tuples, because a batch builds one of each per request: they are frozen, and built four
times faster than frozen dataclasses.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What a request asks for; also the kind of its journal record."""

    TRANSACTION = "transaction"
    COMMIT = "commit"
    VOID = "void"
    REFUND = "refund"
    BULK = "bulk"
    CANCEL = "cancel"
    DEADLINE = "deadline"
    """Only a request, of the sweeper: apply the date of a hold; recorded as a commit
    or a void."""
    SCHEDULE = "schedule"
    """Only a record: a transaction was accepted for a later time."""
    RESOLVE = "resolve"
    """Only a request, of an operator: what was quarantined is resolved; kept beside the journal."""
    LEDGER = "ledger"
    BALANCE = "balance"
    IDENTITY = "identity"
    CHANGE = "change"


class Transaction(NamedTuple):
    """Move ``precise_amount`` (minor units) from source to destination, or hold it.

    source_id, destination_id: resolved balance ids.
    source_indicator, destination_indicator: the ``@Name`` when the side was named by one.
    overdraft_limit: major units, decimal text, greater than zero; None when no limit is given.
    overdraft_limit_minor: the limit in minor units, rounded down: how far below zero the source
    may go.
    effective_micros: microseconds since the epoch when it counts for history; None: at acceptance.
    meta_data: canonical JSON text of an object, or None.
    expires_micros, commits_micros: when the remainder of a hold is voided, or committed.
    scheduled_micros: when it is to be applied; None, or a time in the past: at once.
    """

    reference: str
    source_id: str
    destination_id: str
    source_indicator: str | None
    destination_indicator: str | None
    currency: str
    precise_amount: int
    precision: int
    description: str = ""
    allow_overdraft: bool = False
    overdraft_limit: str | None = None
    overdraft_limit_minor: int = 0
    inflight: bool = False
    effective_micros: int | None = None
    meta_data: str | None = None
    expires_micros: int | None = None
    commits_micros: int | None = None
    scheduled_micros: int | None = None

    @property
    def whole(self) -> Transaction:
        """Itself: what a ``MultiLeg`` has for the request as one transaction."""
        return self

    @property
    def checks_funds(self) -> bool:
        """Whether the source's funds are looked at (ledger semantics, section 4)."""
        return not self.allow_overdraft or self.overdraft_limit is not None


class Leg(NamedTuple):
    """One movement of a request with several legs; fields as in ``Transaction``."""

    source_id: str
    destination_id: str
    source_indicator: str | None
    destination_indicator: str | None
    precise_amount: int


class MultiLeg(NamedTuple):
    """Move money from one source or several to one destination or several, as one.

    whole: the request as one transaction: its total, and the first leg's sides.
    legs: at least one; their amounts add up to the total (ledger semantics, section 8). No two have
    the same source and the same destination.
    """

    whole: Transaction
    legs: tuple[Leg, ...]

    @property
    def reference(self) -> str:
        """The key of idempotency of the whole request."""
        return self.whole.reference

    @property
    def meta_data(self) -> str | None:
        """Canonical JSON text of an object, or None."""
        return self.whole.meta_data


class Bulk(NamedTuple):
    """Post many transactions in order: all or nothing when ``atomic``, else each on its own.

    description, effective_micros: those of the bulk; its items have them already, where they had
    none of their own.
    """

    reference: str
    items: tuple[Transaction | MultiLeg, ...]
    atomic: bool
    description: str = ""
    meta_data: str | None = None
    effective_micros: int | None = None


class Commit(NamedTuple):
    """Post the remainder of a hold, or a part of it.

    transaction_id: the hold, or the request whose legs or transactions are holds: then each of
    them is committed.
    precise_amount: minor units; None with ``amount`` None: the whole remainder.
    amount: exact decimal text in major units, turned into minor units by the hold's precision.
    rounding: ``half_up`` when that may round it; None: it must be exact.
    effective_micros: see ``Transaction``.
    """

    transaction_id: str
    reference: str | None = None
    precise_amount: int | None = None
    amount: str | None = None
    description: str = ""
    meta_data: str | None = None
    effective_micros: int | None = None
    rounding: str | None = None


class Void(NamedTuple):
    """Release the whole remainder of a hold, or of each hold of a request.

    effective_micros: see ``Transaction``.
    """

    transaction_id: str
    reference: str | None = None
    description: str = ""
    meta_data: str | None = None
    effective_micros: int | None = None


class Refund(NamedTuple):
    """Reverse an applied transaction in full, or every transaction of a request.

    effective_micros: see ``Transaction``.
    """

    transaction_id: str
    reference: str | None = None
    description: str = ""
    meta_data: str | None = None
    effective_micros: int | None = None


class Cancel(NamedTuple):
    """Withdraw a scheduled transaction before its time."""

    transaction_id: str
    reference: str | None = None
    description: str = ""
    meta_data: str | None = None


class Deadline(NamedTuple):
    """Apply the expiry or commit date of a hold, or of the holds of a request."""

    transaction_id: str

    @property
    def reference(self) -> None:
        """None: its id alone is the key of idempotency."""


class Resolve(NamedTuple):
    """Resolve a request that was quarantined: try it again, or give it up.

    request_id, position: of the entry that was quarantined. how: ``retried``: its reference is free
    again, for the same request that follows in the log; or ``discarded``.
    made_by, why: who asks for it, and for what reason, as the caller says.
    """

    request_id: str
    position: int
    how: str
    made_by: str = ""
    why: str = ""

    @property
    def reference(self) -> None:
        """None: its id alone is the key of idempotency."""


RETRIED, DISCARDED = "retried", "discarded"
"""How a request that was quarantined is resolved."""


class NewLedger(NamedTuple):
    """Create a ledger."""

    ledger_id: str
    name: str
    meta_data: str | None = None

    @property
    def reference(self) -> None:
        """None: its id alone is the key of idempotency."""


class NewBalance(NamedTuple):
    """Create a balance in a ledger."""

    balance_id: str
    ledger_id: str
    currency: str
    indicator: str | None = None
    identity_id: str | None = None
    meta_data: str | None = None

    @property
    def reference(self) -> None:
        """None: its id alone is the key of idempotency."""


class NewIdentity(NamedTuple):
    """Create an identity: a person or an organisation that owns balances.

    fields: canonical JSON text of an object: what is known of it (see ``ledger.identity``).
    """

    identity_id: str
    fields: str = "{}"
    meta_data: str | None = None

    @property
    def reference(self) -> None:
        """None: its id alone is the key of idempotency."""


class Change(NamedTuple):
    """Change what is not money about a ledger, balance, identity or transaction.

    subject_id: what is changed. fields: canonical JSON text of an object of the fields to set: of
    a ledger ``name``, of a balance ``identity_id``, of an identity its fields; of a transaction
    none. meta_data: canonical JSON text, merged by key over what is there, or None.
    made_by: who asks for it, as the caller says.
    """

    subject_id: str
    reference: str | None = None
    fields: str = "{}"
    meta_data: str | None = None
    made_by: str = ""


Action = Commit | Void | Refund | Cancel
"""What is done to a transaction that was recorded before."""

Instruction = (
    Transaction
    | MultiLeg
    | Bulk
    | Commit
    | Void
    | Refund
    | Cancel
    | Deadline
    | Resolve
    | NewLedger
    | NewBalance
    | NewIdentity
    | Change
)


def movements(instruction: Instruction) -> Sequence[tuple[Transaction, Transaction | Leg]]:
    """Every movement that an instruction asks for, with the transaction that says how."""
    if isinstance(instruction, Transaction):
        return ((instruction, instruction),)
    if isinstance(instruction, MultiLeg):
        return [(instruction.whole, leg) for leg in instruction.legs]
    if isinstance(instruction, Bulk):
        return [movement for item in instruction.items for movement in movements(item)]
    return ()
