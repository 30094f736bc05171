"""Instructions posted by the engine straight into the database, past log and worker."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from tests.harness import Installation, driver_of

from daybook.apply.rejections import claims_of, rejections_of
from daybook.ledger.balance import GENERAL_LEDGER_ID, internal_balance_id
from daybook.ledger.batch import decide_batch
from daybook.ledger.entry import POSITION_COUNTER_BITS, Decision, LogEntry
from daybook.ledger.instructions import (
    Change,
    Instruction,
    Leg,
    MultiLeg,
    NewBalance,
    NewIdentity,
    NewLedger,
    Transaction,
)
from daybook.requests import mint_id, slot_of
from daybook.store.batch.balances import KnownBalances
from daybook.store.batch.changes import Changes, PartitionChanges
from daybook.store.batch.unit_of_work import UnitOfWork

FIRST_MS = 1_770_000_000_000
WORLD = internal_balance_id("@World", "USD")
FEES = internal_balance_id("@Fees", "USD")


def move(reference: str, destination: str, amount: int, **more: Any) -> Transaction:
    """A deposit from @World in USD; ``more`` are fields of the instruction."""
    deposit = Transaction(reference, WORLD, destination, "@World", None, "USD", amount, 100)
    return deposit._replace(allow_overdraft=True, **more)


def divided(reference: str, amounts: dict[str, int], **more: Any) -> MultiLeg:
    """A deposit from @World to several balances."""
    legs = [Leg(WORLD, each, "@World", None, amount) for each, amount in amounts.items()]
    first = legs[0].destination_id
    return MultiLeg(move(reference, first, sum(amounts.values()), **more), tuple(legs))


class Posting:
    """Posts instructions one by one, each a millisecond after the last, in partition 0 of
    one or two: balances have ids that belong there."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self._milliseconds = FIRST_MS

    def post(self, instruction: Instruction, request_id: str = "", body: Any = None) -> Decision:
        """Post one instruction; its id is minted unless it is given, or it creates something."""
        body = json.dumps(body or repr(instruction)).encode()
        self._milliseconds += 1
        position = self._milliseconds << POSITION_COUNTER_BITS
        created = self._created_id(instruction)
        wanted = request_id or created or mint_id("txn")
        entry = LogEntry(position, 0, wanted, instruction, sha256(body).digest(), body)
        with self.installation.owner.begin() as connection:
            return self._write(UnitOfWork(driver_of(connection)), entry)

    @staticmethod
    def _created_id(instruction: Instruction) -> str | None:
        if isinstance(instruction, NewLedger):
            return instruction.ledger_id
        if isinstance(instruction, NewBalance):
            return instruction.balance_id
        return instruction.identity_id if isinstance(instruction, NewIdentity) else None

    @staticmethod
    def _write(unit: UnitOfWork, entry: LogEntry) -> Decision:
        row = unit.lock([0])[0]
        book = unit.load_book([entry], KnownBalances(), check_taken=True, refused=[])
        decision = decide_batch(book, [], [entry])
        (outcome,) = decision.decisions
        rejected = rejections_of(book, decision, [])
        part = PartitionChanges(row, entry.position, book.records, rejected=rejected)
        unit.write(Changes(book, claims_of(book, rejected), {}, [part]))
        return outcome

    def balance(self, **more: Any) -> str:
        """A new balance in USD."""
        balance_id = next(i for i in iter(lambda: mint_id("bln"), "") if slot_of(i) % 2 == 0)
        wanted = NewBalance(balance_id, GENERAL_LEDGER_ID, "USD", **more)
        return self.post(wanted).transaction_id

    def identity(self, meta_data: str | None = None, **fields: str) -> str:
        """A new identity."""
        wanted = NewIdentity(mint_id("idt"), json.dumps(fields), meta_data)
        return self.post(wanted).transaction_id

    def change(self, subject: str, **more: Any) -> Decision:
        """Change a thing; fields and meta_data are JSON texts."""
        return self.post(Change(subject, **more))
