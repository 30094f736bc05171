"""Requests of the story that move money in several parts, and their refunds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from daybook.demo.narration import Narration, too_much
from daybook.demo.tally import Customer, Money, Step, id_of
from daybook.ledger.record import Status
from daybook.ledger.rejection import Reason
from daybook.requests import (
    BulkRequest,
    RefundRequest,
    TransactionRequest,
    mint_bulk_id,
    mint_id,
)

Move = tuple[str, str, int]
"""Ids of the source and of the destination, and the amount in minor units."""


@dataclass(frozen=True, slots=True)
class Posted:
    """A request that moved money in several parts."""

    request_id: str
    moves: Sequence[Move]


class Groups(Narration):
    """Tells requests with legs, bulks, and refunds of them.

    Only what can't change another outcome is refunded: a refund keeps its order among the requests
    of who paid, and not among those of who was paid. So it takes money from internal balances,
    which the story never asks for funds, or from the balance whose order it keeps.
    """

    def __init__(self, customers: Sequence[Customer], seed: int) -> None:
        super().__init__(customers, seed)
        self._refundable: list[Posted] = []
        self._refunded: list[Posted] = []

    def _share_out(self, customer: Customer) -> None:
        """A tenth of a payment is a fee, a part is fixed, a friend gets what is left."""
        source, money, friend = customer.balance_id, customer.money, self._friend_of(customer)
        amount = self._random.randint(100, money.payment_max)
        if self.tally.available(source) < amount:
            self._deposit(customer)
            return
        fixed, fee = self._random.randint(1, amount // 2), amount // 10
        legs = [
            {"identifier": "@Fees", "distribution": "10%"},
            {"identifier": "@Gifts", "precise_distribution": fixed},
            {"identifier": friend.balance_id, "distribution": "left"},
        ]
        self._post(
            self._transaction("legs", money, amount, source=source, destinations=legs),
            (source, id_of("@Fees", money), fee),
            (source, id_of("@Gifts", money), fixed),
            (source, friend.balance_id, amount - fee - fixed),
        )

    def _chip_in(self, customer: Customer) -> None:
        """Two of them pay half of a gift each: their balances may lie in two partitions."""
        money, friend = customer.money, self._friend_of(customer)
        amount = self._random.randint(2, money.payment_max)
        first, second = customer.balance_id, friend.balance_id
        if min(self.tally.available(first), self.tally.available(second)) < amount:
            self._deposit(customer)
            return
        legs = [
            {"identifier": first, "distribution": "50%"},
            {"identifier": second, "distribution": "left"},
        ]
        gifts = id_of("@Gifts", money)
        request = self._transaction("sources", money, amount, sources=legs, destination="@Gifts")
        moves = (first, gifts, amount // 2), (second, gifts, amount - amount // 2)
        self._refundable.append(self._post(request, *moves))

    def _bulk(self, customer: Customer) -> None:
        """A deposit, a gift from it, and a friend's fee: all or nothing."""
        money, friend = customer.money, self._friend_of(customer)
        first, second = customer.balance_id, friend.balance_id
        deposit, fee = money.deposit, self._random.randint(1, money.payment_max)
        if self.tally.available(first) < 0 or self.tally.available(second) < fee:
            self._deposit(friend)
            return
        bulk = self._bulk_of(
            self._item(1, money, deposit, "@World", first),
            self._item(2, money, deposit // 2, first, "@Gifts"),
            self._item(3, money, fee, second, "@Fees"),
        )
        moves = (
            (id_of("@World", money), first, deposit),
            (first, id_of("@Gifts", money), deposit // 2),
            (second, id_of("@Fees", money), fee),
        )
        self._refundable.append(self._post(bulk, *moves))

    def _bulk_with_a_fault(self, customer: Customer) -> None:
        """The last of three can't be paid, so nothing is."""
        money, source = customer.money, customer.balance_id
        bulk = self._bulk_of(
            self._item(1, money, 1, "@World", source),
            self._item(2, money, 1, "@World", self._friend_of(customer).balance_id),
            self._item(3, money, too_much(money), source, "@Fees"),
        )
        reason = Reason.INSUFFICIENT_FUNDS
        self.steps.append(Step("bulk with a fault", bulk, Status.REJECTED, reason, parts=3))

    def _refund(self, customer: Customer) -> None:
        """All that a former request has moved goes back, once."""
        if not self._refundable:
            self._chip_in(customer)
            return
        posted = self._random.choice(self._refundable)
        self._refundable.remove(posted)
        self._refunded.append(posted)
        request = self._refund_of(posted, "refund")
        self.steps.append(Step("refund", request, Status.APPLIED, parts=len(posted.moves)))
        for source, destination, amount in posted.moves:
            self.tally.move(destination, source, amount)

    def _refund_again(self, customer: Customer) -> None:
        """A second refund of the same."""
        if not self._refunded:
            self._refund(customer)
            return
        request = self._refund_of(self._random.choice(self._refunded), "refund again")
        reason = Reason.ALREADY_REFUNDED
        self.steps.append(Step("refund again", request, Status.REJECTED, reason))

    def _refund_of(self, posted: Posted, kind: str) -> RefundRequest:
        return RefundRequest(transaction_id=posted.request_id, reference=self._reference(kind))

    def _post(self, request: TransactionRequest | BulkRequest, *moves: Move) -> Posted:
        """Tell a request that is applied, under an id by which it can be refunded."""
        if isinstance(request, BulkRequest):
            name, request_id = "bulk_id", mint_bulk_id(request.slot)
        else:
            name, request_id = "transaction_id", mint_id("txn", request.slot)
        named = request.model_copy(update={name: request_id})
        self.steps.append(Step("parts", named, Status.APPLIED, parts=len(moves)))
        for move in moves:
            self.tally.move(*move)
        return Posted(request_id, moves)

    def _bulk_of(self, *items: TransactionRequest) -> BulkRequest:
        return BulkRequest(transactions=items, atomic=True, reference=self._reference("bulk"))

    def _item(
        self, number: int, money: Money, amount: int, source: str, destination: str
    ) -> TransactionRequest:
        """A transaction of a bulk."""
        fields: dict[str, Any] = {"source": source, "destination": destination}
        if source.startswith("@"):
            fields["allow_overdraft"] = True
        return self._transaction(f"item {number}", money, amount, **fields)
