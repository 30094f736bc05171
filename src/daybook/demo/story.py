"""The story: requests in the order in which they are sent, and what must come of each.

While it is told, a tally of plain sums is kept that knows nothing of the ledger. A request that
is meant to be applied is only told when the tally has the money for it; a request that is meant
to be refused can't be funded by anything, so that every outcome is known beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from itertools import cycle
from typing import Any

from daybook.demo.groups import Groups
from daybook.demo.narration import too_much
from daybook.demo.tally import MONEYS, Customer, Step, id_of
from daybook.ledger.record import Status
from daybook.ledger.rejection import Reason
from daybook.requests import (
    BalanceRequest,
    CommitRequest,
    LedgerRequest,
    Request,
    TransactionRequest,
    VoidRequest,
    mint_id,
    slot_of,
)

SEED = 1494  # the year in which double entry was first printed
CUSTOMERS_MAX = 300
TRANSACTIONS_PER_CUSTOMER = 10
TRANSACTIONS_MIN = 200
"""Fewer would not have room for each kind of request."""
SPECIAL_EVERY_MIN = 12
SPECIALS_MAX = 200
"""One request of at least so many, and about so many in all, are special ones: refused, repeated,
refunded, into the overdraft, or of several payers, whose partitions all wait for each other."""
OPEN_HOLDS_MAX = 50
OVERDRAFT_LIMIT = 100
"""Major units."""


@dataclass(slots=True)
class OpenHold:
    """A hold of the story that is not ended yet."""

    hold_id: str
    customer: Customer
    cards: str
    remainder: int


class Story(Groups):
    """``openings`` create the ledger and the balances; ``steps`` are ``transactions`` many."""

    def __init__(self, transactions: int, seed: int = SEED) -> None:
        number = min(CUSTOMERS_MAX, transactions // TRANSACTIONS_PER_CUSTOMER)
        customers = [
            Customer(f"customer-{n}", mint_id("bln"), MONEYS[n % len(MONEYS)])
            for n in range(1, number + 1)
        ]
        super().__init__(customers, seed)
        self._holds: list[OpenHold] = []
        self.ledger_id = mint_id("ldg")
        self._tell(transactions)

    @property
    def openings(self) -> list[Request]:
        """The ledger and one balance for each customer."""
        balances = [
            BalanceRequest(
                ledger_id=self.ledger_id,
                currency=customer.money.currency,
                balance_id=customer.balance_id,
                meta_data={"external_id": customer.name},
            )
            for customer in self.customers
        ]
        return [LedgerRequest(name="Customers", ledger_id=self.ledger_id), *balances]

    def _tell(self, transactions: int) -> None:
        ordinary: list[Callable[[Customer], None]] = [
            *(self._deposit, self._pay, self._pay, self._pay, self._fee),
            *(self._withdraw, self._hold, self._hold, self._end_hold, self._end_hold),
            self._share_out,
        ]
        special = cycle(
            [
                *(self._repeat, self._conflict, self._overspend, self._overdraw),
                *(self._overdraw_too_far, self._unknown, self._mismatch, self._commit_too_much),
                *(self._chip_in, self._bulk, self._bulk_with_a_fault),
                *(self._refund, self._refund_again),
            ]
        )
        special_every = max(SPECIAL_EVERY_MIN, transactions // SPECIALS_MAX)
        for customer in self.customers:
            self._deposit(customer)
        while len(self.steps) < transactions:
            is_special = len(self.steps) % special_every == 0
            tell = next(special) if is_special else self._random.choice(ordinary)
            tell(self._random.choice(self.customers))

    # What is applied

    def _pay(self, customer: Customer) -> None:
        self._spend("payment", customer, self._friend_of(customer).balance_id)

    def _fee(self, customer: Customer) -> None:
        self._spend("fee", customer, "@Fees")

    def _withdraw(self, customer: Customer) -> None:
        self._spend("withdrawal", customer, "@World")

    def _overdraw(self, customer: Customer) -> None:
        """Pays a fee with half of the overdraft on top of all that is there."""
        source, money = customer.balance_id, customer.money
        available = self.tally.available(source)
        if available < 0:
            self._deposit(customer)
            return
        amount = available + OVERDRAFT_LIMIT * money.precision // 2
        limit = {"overdraft_limit": Decimal(OVERDRAFT_LIMIT)}
        self._move("overdraft", source, "@Fees", money, amount, limit)

    def _spend(self, kind: str, customer: Customer, destination: str) -> None:
        """Spends at random, or deposits when there is not enough."""
        amount = self._random.randint(1, customer.money.payment_max)
        if self.tally.available(customer.balance_id) < amount:
            self._deposit(customer)
        else:
            self._move(kind, customer.balance_id, destination, customer.money, amount, {})

    # Holds

    def _hold(self, customer: Customer) -> None:
        """A card is authorised."""
        amount = self._random.randint(2, customer.money.payment_max)
        if self.tally.available(customer.balance_id) < amount or len(self._holds) > OPEN_HOLDS_MAX:
            self._end_hold(customer)
            return
        source, money = customer.balance_id, customer.money
        hold_id = mint_id("txn", slot_of(source))
        options: dict[str, Any] = {"inflight": True, "transaction_id": hold_id}
        self._ask("hold", source, "@Cards", money, amount, Status.INFLIGHT, **options)
        cards = id_of("@Cards", money)
        self.tally.hold(source, cards, amount)
        self._holds.append(OpenHold(hold_id, customer, cards, amount))

    def _end_hold(self, customer: Customer) -> None:
        """Commits the rest of some hold, or a part of it, or voids the rest."""
        if not self._holds:
            self._deposit(customer)
            return
        hold = self._random.choice(self._holds)
        kind = self._random.choice(("commit", "partial commit", "void"))
        if kind == "void":
            request: Request = VoidRequest(
                transaction_id=hold.hold_id, reference=self._reference(kind)
            )
            self._release(hold, hold.remainder)
            self.steps.append(Step(kind, request, Status.VOID))
            return
        part = hold.remainder if kind == "commit" else self._random.randint(1, hold.remainder)
        self.steps.append(Step(kind, self._commit_of(hold, kind, part), Status.APPLIED))
        self._release(hold, part)
        self.tally.move(hold.customer.balance_id, hold.cards, part)

    def _release(self, hold: OpenHold, amount: int) -> None:
        self.tally.hold(hold.customer.balance_id, hold.cards, -amount)
        hold.remainder -= amount
        if hold.remainder == 0:
            self._holds.remove(hold)

    def _commit_of(self, hold: OpenHold, kind: str, amount: int) -> CommitRequest:
        return CommitRequest(
            transaction_id=hold.hold_id, reference=self._reference(kind), precise_amount=amount
        )

    # What is refused, or changes nothing

    def _repeat(self, customer: Customer) -> None:
        """A producer that had no answer sends the same again."""
        del customer
        step = self._former_payment()
        self.steps.append(Step("sent again", step.request, step.status, is_new=False))

    def _conflict(self, customer: Customer) -> None:
        """A reference is used for something else."""
        del customer
        request = self._former_payment().request
        assert isinstance(request, TransactionRequest)
        amount = request.minor_amount() + 1
        other = request.model_copy(update={"precise_amount": amount})
        reason = Reason.REFERENCE_CONFLICT
        self.steps.append(Step("conflict", other, Status.REJECTED, reason, is_new=False))

    def _former_payment(self) -> Step:
        return self._random.choice(
            [step for step in self.steps if step.kind in {"deposit", "payment"} and step.is_new]
        )

    def _overspend(self, customer: Customer) -> None:
        self._refused(customer, "@Fees", Reason.INSUFFICIENT_FUNDS, too_much(customer.money))

    def _overdraw_too_far(self, customer: Customer) -> None:
        limit = {"overdraft_limit": Decimal(OVERDRAFT_LIMIT)}
        reason = Reason.OVERDRAFT_LIMIT_EXCEEDED
        self._refused(customer, "@Fees", reason, too_much(customer.money), **limit)

    def _unknown(self, customer: Customer) -> None:
        self._refused(customer, mint_id("bln"), Reason.UNKNOWN_BALANCE)

    def _mismatch(self, customer: Customer) -> None:
        """Pays in the own currency to somebody who has another."""
        others = [c for c in self.customers if c.money is not customer.money]
        payee = self._random.choice(others).balance_id
        self._refused(customer, payee, Reason.CURRENCY_MISMATCH)

    def _commit_too_much(self, customer: Customer) -> None:
        if not self._holds:
            self._hold(customer)
            return
        hold = self._random.choice(self._holds)
        request = self._commit_of(hold, "commit too much", hold.remainder + 1)
        reason = Reason.COMMIT_EXCEEDS_HOLD
        self.steps.append(Step("commit too much", request, Status.REJECTED, reason))

    def _refused(
        self,
        customer: Customer,
        destination: str,
        reason: Reason,
        amount: int = 1,
        **options: Any,
    ) -> None:
        source, money, kind = customer.balance_id, customer.money, reason.replace("_", " ")
        self._ask(kind, source, destination, money, amount, Status.REJECTED, reason, **options)
