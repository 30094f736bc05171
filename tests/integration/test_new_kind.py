"""What a new kind of request asks of the code: nothing but to be made known, once in each room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, NamedTuple

import pytest
from pydantic import BaseModel
from tests.fault.proof import assert_proved
from tests.fault.requests import deposit, make_balances
from tests.harness import Installation

from daybook.errors import MalformedRequest, ReferenceConflict
from daybook.ledger.book import Book
from daybook.ledger.entry import Decision, LogEntry
from daybook.ledger.instructions import Transaction
from daybook.ledger.posting import kinds as kinds_of_instructions
from daybook.ledger.posting.kinds import KindOfInstruction, Reads
from daybook.ledger.posting.transactions import post_transaction
from daybook.ledger.record import Record, Status
from daybook.ledger.rejection import Rejected
from daybook.requests import kinds as kinds_of_requests
from daybook.requests import slot_of
from daybook.requests.base import Request
from daybook.requests.decode.bodies import CONFIG
from daybook.requests.kinds import Decoded, KindOfRequest

FEE = 25
"""What a balance pays, in minor units."""


# --- in the ledger --------------------------------------------------------------------------------


class Toll(NamedTuple):
    """Move a fixed fee from one balance to another."""

    reference: str
    payer_id: str
    keeper_id: str

    @property
    def transaction(self) -> Transaction:
        return Transaction(
            self.reference, self.payer_id, self.keeper_id, None, None, "USD", FEE, 100
        )


def post_toll(book: Book, entry: LogEntry, wanted: Toll) -> Decision | Rejected:
    return post_transaction(book, entry, wanted.transaction)


def rejected_toll(book: Book, entry: LogEntry, wanted: Toll, rejected: Rejected) -> list[Record]:
    known = kinds_of_instructions.KINDS[Transaction]
    return known.rejection_records(book, entry, wanted.transaction, rejected)


TOLL = KindOfInstruction(
    post=post_toll,
    reads=lambda wanted: Reads(balances=(wanted.payer_id, wanted.keeper_id)),
    may_credit=lambda book, entry, wanted: (wanted.keeper_id,),
    rejection_records=rejected_toll,
)


# --- in the requests ------------------------------------------------------------------------------


class TollRequest(Request):
    """``payer`` pays the fee to ``keeper``."""

    kind: ClassVar[Any] = type("Kind", (str,), {"value": "toll"})("toll")

    reference: str
    payer: str
    keeper: str

    @property
    def slot(self) -> int:
        return slot_of(self.payer)

    def canonical_fields(self) -> dict[str, Any]:
        return self.model_dump()


class TollBody(BaseModel):
    model_config = CONFIG

    v: int
    kind: Literal["toll"]
    reference: str
    payer: str
    keeper: str


def decode_toll(fields: TollBody, request_id: str, accepted_ms: int) -> Decoded:
    del accepted_ms
    wanted: Any = Toll(fields.reference, fields.payer, fields.keeper)
    return Decoded(wanted, slot_of(fields.payer), request_id)


@pytest.fixture
def toll(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The kind is known while the test runs."""
    monkeypatch.setitem(kinds_of_instructions.KINDS, Toll, TOLL)
    known = KindOfRequest(TollBody, decode_toll, TollRequest)
    monkeypatch.setitem(kinds_of_requests.KINDS, "toll", known)
    kinds_of_requests.validate_any.cache_clear()
    yield
    monkeypatch.undo()
    kinds_of_requests.validate_any.cache_clear()


@pytest.mark.usefixtures("toll")
def test_a_new_kind_is_made_known_in_two_rooms(installation: Installation) -> None:
    """Accepted, posted, refused, told, recorded and proved like every other."""
    (payer, keeper), _ = make_balances(installation, 2)
    client = installation.client
    client.enqueue(deposit("in", payer, FEE + 5))
    request = {"kind": "toll", "reference": "gate-1", "payer": payer, "keeper": keeper}
    paid = client.enqueue(request)
    refused = client.enqueue({**request, "reference": "gate-2"})
    installation.drain()
    assert client.wait(paid, timeout=5).status == Status.APPLIED
    assert client.wait(refused, timeout=5).reason == "insufficient_funds"
    assert client.enqueue(request).state == "duplicate"
    with pytest.raises(ReferenceConflict, match="payer"):
        client.enqueue({**request, "payer": keeper})
    with pytest.raises(MalformedRequest, match="keeper"):
        client.enqueue({"kind": "toll", "reference": "gate-3", "payer": payer})
    figures = dict(
        installation.rows(
            "SELECT 'bln_' || balance_id, credit_balance - debit_balance FROM balances"
        )
    )
    assert (figures[payer], figures[keeper]) == (5, FEE)
    assert_proved(installation)
