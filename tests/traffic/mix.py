"""Draws requests of every kind, and remembers what later ones can name."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from random import Random
from typing import Any

from tests.fault.requests import bulk, deposit, legs, move, seeded_id, slot_for
from tests.oracle.ids import part_id
from tests.traffic.purses import Episodes, Step, Wait

LEDGER = "general_ledger_id"
OPENING_CENTS = 3_000
RELAY_CENTS = 50_000
"""More than anybody has."""
MOMENT_MS_MAX = 2_000
"""How far ahead the times of drawn requests lie at most."""
INSTANT_MS_MAX = 8
"""So near lie some, that what comes next may be accepted at that very millisecond."""
REPEATED = 0.08
"""How often a request is sent once more, perhaps by another process."""
TOGETHER = 0.7
"""How often what follows from a request is sent in one call with it."""
SPOILT = {"transaction", "bulk", "commit", "void", "refund", "cancel"}
"""Kinds of requests that have a description, for what makes the code raise."""

Weights = Mapping[str, int]
"""How often each kind is drawn, relative to the others."""

EVERYDAY: Weights = {
    "transfer": 30,
    "deposit": 10,
    "hold": 10,
    "commit": 9,
    "void": 5,
    "refund": 8,
    "legs": 9,
    "bulk": 9,
    "schedule": 6,
    "cancel": 3,
    "identity": 2,
    "change": 4,
    "owned_balance": 2,
    "unknown_balance": 2,
    "other_precision": 2,
    "limit": 4,
    "pool": 4,
    "instant": 4,
}
"""What services send."""

RACING: Weights = {**EVERYDAY, "relay": 60, "keyed": 25, "contest": 8, "instant": 12, "purses": 30}
"""With more of what depends on who comes first."""


def mixed(random: Random, balances: Sequence[str], number: int, name: str) -> list[Any]:
    """Requests of every kind, repetitions and requests to be refused.

    The same for the same seed and balances, but for the times, which lie a moment ahead.
    """
    return list(islice(mixing(random, balances, name), len(balances) + number))


def mixing(random: Random, balances: Sequence[str], name: str) -> Iterator[Any]:
    """The same without an end: each is drawn when it is asked for."""
    mix = Mix(random, balances, name)
    requests: list[Any] = [deposit(f"{name}-open-{b}", b, 5_000) for b in balances]
    yield from requests.copy()
    for index in count():
        if random.random() < 0.05:
            requests.append(random.choice(requests))
        else:
            requests.append(mix.draw(f"{name}-{index}"))
        yield requests[-1]


def openings(random: Random, number: int) -> tuple[list[str], list[dict[str, Any]]]:
    """So many balances with a little money each: their ids, and the requests that make them."""
    names = [seeded_id(random, "bln") for _ in range(number)]
    where = {"kind": "balance", "ledger_id": LEDGER, "currency": "USD"}
    made = [{**where, "balance_id": name} for name in names]
    return names, made + [
        deposit(f"open-{at}", name, OPENING_CENTS) for at, name in enumerate(names)
    ]


def drawn(mix: Mix, random: Random, number: int, name: str) -> list[dict[str, Any]]:
    """So many requests, some of them twice; more, where one leads to others."""
    requests: list[dict[str, Any]] = []
    while len(requests) < number or (mix.is_unfinished and random.random() < TOGETHER):
        if requests and mix.wait:
            break
        if requests and random.random() < REPEATED:
            requests.append(random.choice(requests))
        else:
            requests.append(mix.draw(f"{name}-{len(requests)}"))
    return requests


def some_of(weights: Weights, random: Random) -> Weights:
    """A mixture of its own: some kinds not at all, some often."""
    chosen = {kind: weight * random.choice([0, 1, 1, 4]) for kind, weight in weights.items()}
    return chosen if any(chosen.values()) else weights


class Mix:
    """Draws requests.

    now_ms: milliseconds since the epoch. spoilt: descriptions that make the code raise, and how
    often a request gets one.
    holds: ids of what was inflight, in one part or several. moved: of what moved money.
    waiting: of what was scheduled. subjects: of what can be changed.
    """

    def __init__(
        self,
        random: Random,
        balances: Sequence[str],
        name: str,
        weights: Weights = EVERYDAY,
        now_ms: Callable[[], float] = lambda: time.time() * 1000,
        spoilt: tuple[Sequence[str], float] = ((), 0.0),
    ) -> None:
        self._random = random
        self._ids = Random(f"{name}-{random.random()}")
        self._now_ms = now_ms
        self._spoilt = spoilt
        self._balances = list(balances)
        self.holds: list[str] = []
        self.moved: list[str] = []
        self.waiting: list[str] = []
        self.identities: list[str] = []
        self.subjects: list[str] = list(balances)
        self._kinds = {getattr(self, f"_{kind}"): weight for kind, weight in weights.items()}
        self._episodes = Episodes(random, self._ids)
        self._next: deque[Step] = deque()
        self._holder: str | None = None

    @property
    def is_unfinished(self) -> bool:
        """Whether what was drawn leads to more."""
        return bool(self._next)

    @property
    def wait(self) -> Wait | None:
        """How long what comes next waits, in a call of its own; None: it need not."""
        following = self._next[0] if self._next else None
        return following if isinstance(following, Wait) else None

    def draw(self, reference: str) -> dict[str, Any]:
        """The next request, under this reference if it has one."""
        while self._next:
            following = self._next.popleft()
            if not isinstance(following, Wait):
                return following
        (kind,) = self._random.choices(list(self._kinds), list(self._kinds.values()))
        drawn: dict[str, Any] = kind(reference)
        return self._perhaps_spoilt(drawn)

    def _perhaps_spoilt(self, request: dict[str, Any]) -> dict[str, Any]:
        words, chance = self._spoilt
        if not words or self._next or self._random.random() >= chance:
            return request
        word = self._random.choice(list(words))
        if request.get("kind", "transaction") not in SPOILT:
            return request
        if request.get("kind") == "bulk" and self._random.random() < 0.7:
            self._random.choice(request["transactions"])["description"] = word
            return request
        return {**request, "description": word}

    def _named(self, request: dict[str, Any], *into: list[str]) -> dict[str, Any]:
        """The transaction with an id of its own, kept for later requests."""
        made = seeded_id(self._ids, "txn", slot_for(request))
        for known in (*into, self.subjects):
            known.append(made)
        return {**request, "transaction_id": made}

    def _moment(self, first: int = 1, last: int = MOMENT_MS_MAX) -> datetime:
        """A time so many milliseconds ahead."""
        ahead = self._random.randint(first, last)
        return datetime.fromtimestamp(int(self._now_ms()) / 1000, UTC) + timedelta(
            milliseconds=ahead
        )

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

    def _limit(self, reference: str) -> dict[str, Any]:
        """A spend that may go below zero, so far."""
        source, destination, amount = self._sides()
        more = {"allow_overdraft": True} if self._random.random() < 0.3 else {}
        limit = self._random.choice(["0.01", "2.50", "10"])
        return self._named(
            move(reference, source, destination, amount, overdraft_limit=limit, **more), self.moved
        )

    def _pool(self, reference: str) -> dict[str, Any]:
        """Into or out of an internal balance whose funds are checked."""
        name = self._random.choice(self._balances[:4])
        sides = (name, "@Pool") if self._random.random() < 0.5 else ("@Pool", name)
        return self._named(move(reference, *sides, self._random.randint(1, 900)), self.moved)

    def _instant(self, reference: str) -> dict[str, Any]:
        """Dates that come as what they are about is accepted, or what is done to it."""
        soon, chance = self._moment(0, INSTANT_MS_MAX), self._random.random()
        if chance < 0.2:
            return self._named(
                move(reference, *self._sides(), scheduled_for=soon), self.waiting, self.moved
            )
        if chance < 0.5:
            soon = self._moment(2 * INSTANT_MS_MAX, 4 * INSTANT_MS_MAX)
            later = move(reference, *self._sides(), scheduled_for=soon)
            cancel = {"kind": "cancel", "reference": f"{reference}-cancel"}
            early_ms = self._random.randint(0, INSTANT_MS_MAX // 2)
            self._next.append(Wait(until_ms=int(soon.timestamp() * 1000) - early_ms))
            return self._then(self._named(later, self.waiting, self.moved), cancel)
        dates: dict[str, Any] = {
            self._random.choice(["inflight_expiry_date", "inflight_commit_date"]): soon
        }
        if chance > 0.9:
            dates = dict.fromkeys(["inflight_expiry_date", "inflight_commit_date"], soon)
        hold = self._named(move(reference, *self._sides(), inflight=True, **dates), self.holds)
        return self._then(hold, {"kind": self._random.choice(["commit", "void"])})

    def _then(self, request: dict[str, Any], action: dict[str, Any]) -> dict[str, Any]:
        """The request, and next what is done to it."""
        self._next.append(action | {"transaction_id": request["transaction_id"]})
        return request

    def _relay(self, reference: str) -> dict[str, Any]:
        """More money than anybody has, from one to the next: each needs the one before."""
        source = self._holder
        self._holder = self._random.choice([b for b in self._balances[:6] if b != source])
        if source is None:
            return deposit(reference, self._holder, RELAY_CENTS)
        return self._named(move(reference, source, self._holder, RELAY_CENTS), self.moved)

    def _keyed(self, reference: str) -> dict[str, Any]:
        """A spend that keeps its order with others than those of its source."""
        source, destination = self._random.sample(self._balances[:2], 2)
        key = self._random.choice("abcdefgh")
        amount = self._random.randint(OPENING_CENTS // 2, OPENING_CENTS)
        return move(reference, source, destination, amount, ordering_key=key)

    def _contest(self, reference: str) -> dict[str, Any]:
        """A bulk with an item whose reference the next request takes, too, in whatever slot."""
        contested = self._bulk(reference)
        rival = self._transfer if self._random.random() < 0.5 else self._schedule
        self._next.append(rival(f"{reference}-item-0"))
        return contested

    def _purses(self, reference: str) -> dict[str, Any]:
        """Requests whose outcomes are known, one after the other."""
        self._next.extend(self._episodes.draw(reference))
        return self.draw(reference)
