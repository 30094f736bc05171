"""Requests that fault tests send."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from random import Random
from typing import Any

from daybook import BalanceRequest
from daybook.client.receipts import Receipt
from daybook.ledger.ids import part_id
from daybook.requests import mint_id
from daybook.requests.routing import ordering_key_of, slot_of
from tests.harness import Installation

MOMENT_MS_MAX = 2_000
"""How far ahead the times of drawn requests lie at most."""

_SOME_MS = 1_700_000_000_000


def make_balances(
    installation: Installation, number: int, currency: str = "USD", seed: int | None = None
) -> tuple[list[str], list[Receipt]]:
    """New application balances in a new ledger, and the receipts for all of that.

    seed: makes their ids, and so their slots, always the same.
    """
    ledger = installation.client.create_ledger("Faults")
    balances = [mint_id("bln") for _ in range(number)]
    if seed is not None:
        random = Random(f"balances-{seed}")
        balances = [seeded_id(random, "bln") for _ in range(number)]
    made = [BalanceRequest(ledger_id=ledger.id, currency=currency, balance_id=b) for b in balances]
    return balances, [ledger, *installation.client.enqueue_many(made)]


def move(reference: str, source: str, destination: str, amount: int, **more: Any) -> dict[str, Any]:
    """A transaction in cents."""
    return {
        "reference": reference,
        "source": source,
        "destination": destination,
        "currency": "USD",
        "precise_amount": amount,
        "precision": 100,
        **more,
    }


def deposit(reference: str, destination: str, amount: int, **more: Any) -> dict[str, Any]:
    """Money from outside."""
    return move(reference, "@World", destination, amount, allow_overdraft=True, **more)


def seeded_id(random: Random, prefix: str, slot: int = 0) -> str:
    """An id as ``mint_id`` or ``mint_bulk_id`` makes it, the same for the same seed."""
    version = 8 if prefix == "bulk" else 7
    chance = random.getrandbits(61)
    text = f"{_SOME_MS << 80 | version << 76 | slot << 64 | 2 << 62 | chance:032x}"
    return f"{prefix}_{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def slot_for(request: Mapping[str, Any]) -> int:
    """The slot of a transaction, by the ordering key that it has by default."""
    names = {
        side: [request[side]]
        if side in request
        else [leg["identifier"] for leg in request[f"{side}s"]]
        for side in ("source", "destination")
    }
    return slot_of(ordering_key_of(names["source"], names["destination"]))


def legs(
    reference: str,
    side: str,
    shares: Mapping[str, str],
    other: str,
    amount: int,
    **more: Any,
) -> dict[str, Any]:
    """A transaction in cents with several balances on one ``side``, by their share each."""
    several = [{"identifier": name, "distribution": share} for name, share in shares.items()]
    fields = move(reference, other, other, amount, **more)
    del fields[side]
    return {**fields, f"{side}s": several}


def bulk(reference: str, items: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """Many transactions in one request."""
    return {"kind": "bulk", "reference": reference, "transactions": list(items), **more}


def mixed(random: Random, balances: Sequence[str], number: int, name: str) -> list[Any]:
    """Requests of every kind, repetitions and requests to be refused.

    The same for the same seed and balances, but for the times, which lie a moment ahead.
    """
    return list(islice(mixing(random, balances, name), len(balances) + number))


def mixing(random: Random, balances: Sequence[str], name: str) -> Iterator[Any]:
    """The same without an end: each is drawn when it is asked for."""
    mix = _Mix(random, balances, name)
    requests: list[Any] = [deposit(f"{name}-open-{b}", b, 5_000) for b in balances]
    yield from requests.copy()
    for index in count():
        if random.random() < 0.05:
            requests.append(random.choice(requests))
        else:
            requests.append(mix.draw(f"{name}-{index}"))
        yield requests[-1]


class _Mix:
    """Draws requests, and remembers what later ones can name.

    holds: ids of what was inflight, in one part or several. moved: of what moved money.
    waiting: of what was scheduled. subjects: of what can be changed.
    """

    def __init__(self, random: Random, balances: Sequence[str], name: str) -> None:
        self._random = random
        self._ids = Random(f"{name}-{random.random()}")
        self._balances = list(balances)
        self.holds: list[str] = []
        self.moved: list[str] = []
        self.waiting: list[str] = []
        self.identities: list[str] = []
        self.subjects: list[str] = list(balances)
        self._kinds = {
            self._transfer: 30,
            self._deposit: 10,
            self._hold: 10,
            self._commit: 9,
            self._void: 5,
            self._refund: 8,
            self._legs: 9,
            self._bulk: 9,
            self._schedule: 6,
            self._cancel: 3,
            self._identity: 2,
            self._change: 4,
            self._owned_balance: 2,
            self._unknown_balance: 2,
            self._other_precision: 2,
        }

    def draw(self, reference: str) -> dict[str, Any]:
        """The next request, under this reference if it has one."""
        (kind,) = self._random.choices(list(self._kinds), list(self._kinds.values()))
        drawn: dict[str, Any] = kind(reference)
        return drawn

    def _named(self, request: dict[str, Any], *into: list[str]) -> dict[str, Any]:
        """The transaction with an id of its own, kept for later requests."""
        made = seeded_id(self._ids, "txn", slot_for(request))
        for known in (*into, self.subjects):
            known.append(made)
        return {**request, "transaction_id": made}

    def _moment(self) -> datetime:
        ahead = timedelta(milliseconds=self._random.randint(50, MOMENT_MS_MAX))
        return datetime.now(UTC) + ahead

    def _dated(self) -> dict[str, Any]:
        """A date of its own, in the past, now and then."""
        if self._random.random() < 0.7:
            return {}
        return {"effective_date": self._moment() - timedelta(days=self._random.randint(1, 400))}

    def _one(self, known: Sequence[str], else_one: str = "txn") -> str:
        """One of those drawn before, a young one rather; or one that nothing has."""
        if not known:
            return seeded_id(self._ids, else_one)
        return self._random.choice(known[-12:])

    def _sides(self) -> tuple[str, str, int]:
        source, destination = self._random.sample(self._balances, 2)
        return source, destination, self._random.randint(1, 2_000)

    def _transfer(self, reference: str) -> dict[str, Any]:
        return self._named(move(reference, *self._sides()), self.moved)

    def _deposit(self, reference: str) -> dict[str, Any]:
        _, destination, amount = self._sides()
        return self._named(deposit(reference, destination, amount), self.moved)

    def _dates(self) -> dict[str, Any]:
        """Of a hold: none, one or two, the latter sometimes at the same moment."""
        names = ["inflight_expiry_date", "inflight_commit_date"]
        chance, moment = self._random.random(), self._moment()
        if chance < 0.5:
            return {}
        if chance < 0.9:
            return {self._random.choice(names): moment}
        other = moment if chance < 0.95 else self._moment()
        return dict(zip(names, (moment, other), strict=True))

    def _hold(self, reference: str) -> dict[str, Any]:
        hold = move(reference, *self._sides(), inflight=True, **self._dates())
        return self._named(hold, self.holds)

    def _commit(self, reference: str) -> dict[str, Any]:
        """Of a hold, of a part of one, or of all parts; all of it, or an amount."""
        hold = self._one(self.holds)
        if self._random.random() < 0.3:
            hold = part_id(hold, self._random.randint(1, 3))
        commit: dict[str, Any] = {"kind": "commit", "transaction_id": hold}
        if self._random.random() < 0.5:
            commit["reference"] = reference
        if self._random.random() < 0.4 and not hold.startswith("bulk_"):
            commit["precise_amount"] = self._random.randint(1, 1_000)
        return commit | self._dated()

    def _void(self, reference: str) -> dict[str, Any]:
        hold = self._one(self.holds)
        if self._random.random() < 0.2:
            hold = part_id(hold, self._random.randint(1, 3))
        return {"kind": "void", "transaction_id": hold} | self._dated()

    def _refund(self, reference: str) -> dict[str, Any]:
        """Of what was applied, of a hold's part that its date committed, or of a hold."""
        chance = self._random.random()
        original = self._one(self.moved)
        if chance < 0.2:
            original = part_id(self._one(self.holds), "deadline")
        elif chance < 0.3:
            original = self._one(self.holds)
        elif chance < 0.4:
            original = part_id(original, 1)
        refund = {"kind": "refund", "transaction_id": original}
        refund |= {"reference": reference} if self._random.random() < 0.5 else {}
        return refund | self._dated()

    def _legs_of(self, reference: str, **more: Any) -> dict[str, Any]:
        """Several sources, over several slots; or several destinations."""
        side = self._random.choice(["source", "destination"])
        other, *several = self._random.sample(self._balances, self._random.randint(3, 5))
        shares = dict.fromkeys(several, f"{100 // len(several)}%")
        shares[several[-1]] = "left"
        if side == "destination" and self._random.random() < 0.3:
            shares["@Fees"] = shares.pop(several[0])
        return legs(reference, side, shares, other, self._random.randint(10, 4_000), **more)

    def _legs(self, reference: str) -> dict[str, Any]:
        chance = self._random.random()
        if chance < 0.4:
            held = self._legs_of(reference, inflight=True, **self._dates())
            return self._named(held, self.holds)
        if chance < 0.55:
            later = self._legs_of(reference, scheduled_for=self._moment())
            return self._named(later, self.waiting, self.moved)
        return self._named(self._legs_of(reference), self.moved)

    def _bulk(self, reference: str) -> dict[str, Any]:
        """Over many balances: atomic or not, of holds or not, some items with legs."""
        inflight = self._random.random() < 0.4
        items = []
        for number in range(self._random.randint(1, 6)):
            more = {"inflight": True, **self._dates()} if inflight else {}
            name = f"{reference}-item-{number}"
            if self._random.random() < 0.25:
                items.append(self._legs_of(name, **more))
            else:
                source, destination, amount = self._sides()
                items.append(move(name, source, destination, amount // 4 + 1, **more))
        made = seeded_id(self._ids, "bulk", slot_for(items[0]))
        (self.holds if inflight else self.moved).append(made)
        self.subjects.append(made)
        more = {"description": reference} | self._dated()
        return bulk(reference, items, atomic=self._random.random() < 0.5, bulk_id=made, **more)

    def _schedule(self, reference: str) -> dict[str, Any]:
        more: dict[str, Any] = {"inflight": True} if self._random.random() < 0.2 else {}
        request = move(reference, *self._sides(), scheduled_for=self._moment(), **more)
        return self._named(request, self.waiting, self.holds if more else self.moved)

    def _cancel(self, reference: str) -> dict[str, Any]:
        return {"kind": "cancel", "transaction_id": self._one(self.waiting), "reference": reference}

    def _identity(self, reference: str) -> dict[str, Any]:
        made = seeded_id(self._ids, "idt")
        self.identities.append(made)
        self.subjects.append(made)
        return {"kind": "identity", "identity_id": made, "first_name": reference}

    def _owned_balance(self, reference: str) -> dict[str, Any]:
        """Its owner may be one that does not exist."""
        made = seeded_id(self._ids, "bln")
        owner = self._one(self.identities, "idt")
        self._balances.append(made)
        self.subjects.append(made)
        where = {"ledger_id": "general_ledger_id", "currency": "USD"}
        return {"kind": "balance", "balance_id": made, "identity_id": owner, **where}

    def _change(self, reference: str) -> dict[str, Any]:
        subject = self._random.choice(self.subjects)
        fields = {
            "idt": {"city": reference},
            "bln": {"identity_id": self._one(self.identities, "idt")},
        }
        change = {"kind": "change", "subject_id": subject, "meta_data": {"n": reference}}
        if subject[:3] in fields and self._random.random() < 0.5:
            change["fields"] = fields[subject[:3]]
        return change | ({"reference": reference} if self._random.random() < 0.5 else {})

    def _unknown_balance(self, reference: str) -> dict[str, Any]:
        _, destination, amount = self._sides()
        return move(reference, seeded_id(self._ids, "bln"), destination, amount)

    def _other_precision(self, reference: str) -> dict[str, Any]:
        return move(reference, *self._sides(), precision=10)
