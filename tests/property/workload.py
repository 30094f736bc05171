"""Workloads for hypothesis: small worlds in which everything touches everything."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st
from tests.engine.entries import entry_of
from tests.oracle.amounts import micros
from tests.oracle.facts import Request
from tests.oracle.ids import part_id, slot_of
from tests.oracle.model import Model
from tests.oracle.scenario import (
    FIRST_POSITION,
    bulk_id_of,
    id_of,
    key_of_order,
    moment,
    slot_in,
    transaction_id_of,
)

from daybook.ledger.entry import LogEntry

Draw = Callable[[st.SearchStrategy[Any]], Any]
Sent = tuple[dict[str, Any], str]
"""A request and the id under which it is accepted."""

LEDGER = id_of("ldg", "L")
PERSON = id_of("idt", "P")
WALLETS = [id_of("bln", f"wallet {n}") for n in range(5)]
REQUESTS_MAX = 24
ITEMS_MAX = 4
SOON = 12
"""Requests until a date that a request names has come, at most."""


def position_of(number: int) -> int:
    """When the ``number``-th request is accepted: a millisecond for two."""
    return FIRST_POSITION + (number // 2 << 20) + number % 2


def date_of(number: int) -> str:
    """The time at which the ``number``-th request is accepted."""
    return moment(number // 2 / 1000)


def entries_of(requests: list[Sent]) -> list[LogEntry]:
    """Requests with their ids as a log."""
    return [
        entry_of(request, request_id, position_of(number))
        for number, (request, request_id) in enumerate(requests)
    ]


def slot_of_request(request: Request) -> int:
    """The slot of a transaction, of a bulk, or of what is done to one."""
    if request["kind"] == "bulk":
        return slot_of(key_of_order(request["transactions"][0]))
    if request["kind"] == "transaction":
        return slot_of(key_of_order(dict(request)))
    subject: str = request.get("subject_id") or request["transaction_id"]
    return slot_in(subject) if subject.startswith(("txn_", "bulk_")) else slot_of(subject)


def sent(number: int, request: dict[str, Any]) -> Sent:
    """A request with the id that it would be given."""
    slot = slot_of_request(request)
    if request["kind"] == "deadline":
        return request, part_id(request["transaction_id"], "deadline")
    return request, (bulk_id_of if request["kind"] == "bulk" else transaction_id_of)(
        f"t{number}", slot
    )


def movement(name: object, amount: int, sides: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A transaction in minor units."""
    return {
        "kind": "transaction",
        "reference": f"r{name}",
        **sides,
        "currency": "USD",
        "precise_amount": amount,
        "precision": 100,
        **more,
    }


def transaction(number: int, source: str, destination: str, amount: int, **more: Any) -> Sent:
    """A transaction with one movement, with its id."""
    sides = {"source": source, "destination": destination}
    return sent(number, movement(number, amount, sides, **more))


def openings() -> list[Sent]:
    """The ledger, an identity, and the wallets."""
    wallet = {"kind": "balance", "ledger_id": LEDGER, "currency": "USD"}
    owned = {**wallet, "identity_id": PERSON}
    return [
        ({"kind": "ledger", "name": "L"}, LEDGER),
        ({"kind": "identity", "first_name": "Ann"}, PERSON),
        (owned, WALLETS[0]),
        *((wallet, wallet_id) for wallet_id in WALLETS[1:]),
    ]


# What succeeds when it is posted in order


@st.composite
def valid_in_order(draw: Draw) -> list[Sent]:
    """Requests that all succeed when they are posted in order.

    Amounts are biased to all that is there, so that most spends need the credit just before.
    """
    model, requests = Model(), openings()
    for request, request_id in requests:
        model.take(request, request_id)
    for number in range(draw(st.integers(1, REQUESTS_MAX))):
        request, request_id = sent(number, _valid(draw, model, number))
        outcome = model.take(request, request_id)
        assert outcome.reason is None, (request, outcome)
        requests.append((request, request_id))
    return requests


def _valid(draw: Draw, model: Model, number: int) -> dict[str, Any]:
    open_holds = [hold_id for hold_id, hold in model.holds.items() if hold.open]
    choice = draw(st.integers(0, 7))
    if open_holds and choice < 3:
        return _valid_action(draw, model, draw(st.sampled_from(open_holds)))
    if choice < 5:
        return _valid_bulk(draw, model, number)
    applied = [
        row.transaction_id
        for row in model.rows
        if row.moved and row.status == "APPLIED" and row.kind != "refund"
    ]
    fresh = [own for own in applied if own not in model.refunded]
    if fresh and choice == 5:
        return {"kind": "refund", "transaction_id": draw(st.sampled_from(fresh))}
    return _valid_movement(draw, model, number)


def _valid_action(draw: Draw, model: Model, hold_id: str) -> dict[str, Any]:
    parent = next(row.parent for row in model.rows if row.transaction_id == hold_id)
    named = draw(st.sampled_from([hold_id, hold_id, parent or hold_id]))
    if draw(st.booleans()):
        return {"kind": "void", "transaction_id": named}
    part = draw(st.sampled_from([None, 1, model.holds[hold_id].open])) if named == hold_id else None
    amount = {"precise_amount": part} if part else {}
    return {"kind": "commit", "transaction_id": named, **amount}


def _valid_bulk(draw: Draw, model: Model, number: int) -> dict[str, Any]:
    tried, items = deepcopy(model), []
    for place in range(draw(st.integers(1, ITEMS_MAX))):
        item = _valid_movement(draw, tried, f"{number}.{place}")
        outcome = tried.take(item, f"tried {place}")
        assert outcome.reason is None, (item, outcome)
        items.append({name: value for name, value in item.items() if name != "kind"})
    atomic = draw(st.booleans())
    return {"kind": "bulk", "reference": f"b{number}", "transactions": items, "atomic": atomic}


def _valid_movement(draw: Draw, model: Model, name: object) -> dict[str, Any]:
    payers = {wallet: model.balances[wallet].available for wallet in WALLETS}
    shop = model.balances.get(("@Shop", "USD"))
    payers["@Shop"] = shop.available if shop else 0
    rich = [payer for payer, available in payers.items() if available > 0]
    if not rich or draw(st.integers(0, 4)) == 0:
        sides = {"source": "@World", "destination": draw(st.sampled_from(WALLETS))}
        if draw(st.booleans()):
            sides = {"source": "@World", "destinations": _some_legs(draw, WALLETS)}
        return movement(name, draw(st.integers(1, 10)), sides, allow_overdraft=True)
    more = {"inflight": draw(st.sampled_from([False, False, True]))}
    givers = draw(st.lists(st.sampled_from(rich), min_size=1, max_size=2, unique=True))
    amounts = [
        draw(st.one_of(st.just(payers[giver]), st.integers(1, payers[giver]))) for giver in givers
    ]
    others = [wallet for wallet in WALLETS if wallet not in givers]
    shops = ["@Shop"] if "@Shop" not in givers else []
    if len(givers) > 1:
        sources = [
            {"identifier": giver, "precise_distribution": str(amount)}
            for giver, amount in zip(givers, amounts, strict=True)
        ]
        sides = {"sources": sources, "destination": draw(st.sampled_from([*others, *shops]))}
        if draw(st.booleans()):
            sides = {"sources": sources, "destinations": _cut(draw, sum(amounts), others)}
    elif draw(st.integers(0, 2)) == 0:
        sides = {"source": givers[0], "destinations": _some_legs(draw, [*others, *shops])}
    else:
        sides = {"source": givers[0], "destination": draw(st.sampled_from([*others, *shops * 2]))}
    return movement(name, sum(amounts), sides, **more)


def _cut(draw: Draw, total: int, names: list[str]) -> list[dict[str, str]]:
    """One to three fixed legs that add up to the total."""
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    cuts = st.lists(st.integers(1, total), max_size=len(chosen) - 1)
    ends = sorted({*draw(cuts), total})
    return [
        {"identifier": name, "precise_distribution": str(end - start)}
        for name, (start, end) in zip(chosen, pairwise([0, *ends]), strict=False)
    ]


def _some_legs(draw: Draw, names: list[str]) -> list[dict[str, str]]:
    """Two or three legs that share out any total."""
    chosen = draw(st.lists(st.sampled_from(names), min_size=2, max_size=3, unique=True))
    shares = draw(st.sampled_from([["33.3%", "33.3%"], ["50%", "50%"], ["12.5%", "0.5%"]]))
    given = [
        {"identifier": name, "distribution": share}
        for name, share in zip(chosen, shares, strict=False)
    ]
    if len(chosen) == len(shares):
        given[-1]["distribution"] = "left"
    return given + [{"identifier": name, "distribution": "left"} for name in chosen[len(shares) :]]


# Anything


@st.composite
def anything(draw: Draw) -> list[Sent]:
    """Requests of every kind, many of which are refused, repeated, or in conflict.

    A model goes along, so that what is done to transactions often meets one that it fits.
    """
    requests: list[Sent] = []
    model, pending = Model(), openings()
    for number in range(draw(st.integers(1, 2 * REQUESTS_MAX))):
        choice = draw(st.integers(0, 9))
        due = _due(model, number)
        if pending and choice < 8:
            requests.append(pending.pop(0))
        elif due and choice < 4:
            requests.append(draw(st.sampled_from(due)))
        elif requests and choice == 9:
            requests.append(draw(st.sampled_from(requests)))
        else:
            requests.append(sent(number, _any_request(draw, number, requests, model)))
        model.take(*requests[-1], micros_of(number))
    return requests


def micros_of(number: int) -> int:
    """When the ``number``-th request is accepted, in microseconds since the epoch."""
    return (position_of(number) >> 20) * 1000


def _due(model: Model, number: int) -> list[Sent]:
    """What was scheduled, and what holds have dates, that have come."""
    now = micros_of(number)
    due: list[Sent] = [
        (dict(request), own)
        for own, request in model.schedules.items()
        if (micros(request["scheduled_for"]) or 0) <= now
    ]
    return due + [
        sent(number, {"kind": "deadline", "transaction_id": own})
        for own, hold in model.holds.items()
        if hold.due(now)
    ]


def _any_request(draw: Draw, number: int, before: list[Sent], model: Model) -> dict[str, Any]:
    ids = _ids(before)
    choice = draw(st.integers(0, 11))
    if ids and choice < 5:
        return _any_action(draw, number, ids, model)
    if choice == 5:
        return _any_change(draw, number, ids)
    if choice < 8:
        drawn = [_any_item(draw, number, f"{number}.{n}") for n in range(draw(st.integers(1, 4)))]
        items = list({item["reference"]: item for item in drawn}.values())
        flags = {"atomic": draw(st.booleans()), "inflight": draw(st.booleans())}
        bulk = {"kind": "bulk", "reference": f"b{number}", "transactions": items, **flags}
        return bulk | _said(draw, number)
    request = _any_movement(draw, number, f"{draw(_old_or_new(number))}")
    if draw(st.integers(0, 3)) == 0:
        request["scheduled_for"] = date_of(number + draw(st.integers(-2, SOON)))
    return request


def _old_or_new(number: int) -> st.SearchStrategy[int]:
    return st.one_of(st.just(number), st.just(number), st.integers(0, number))


def _ids(before: list[Sent]) -> list[str]:
    """Ids of what was sent before and of its parts, that there may be."""
    ids = []
    for request, request_id in before:
        if not request_id.startswith(("txn_", "bulk_")) or request["kind"] == "deadline":
            continue
        ids.append(request_id)
        if request["kind"] != "change":
            ids += [part_id(request_id, 1), part_id(request_id, 2)]
        if request["kind"] == "bulk":
            ids.append(part_id(part_id(request_id, 1), 1))
        if request.get("inflight"):
            ids.append(part_id(request_id, "deadline"))
    return ids


def _fitting(model: Model, kind: str) -> list[str]:
    """Ids of what an action of this kind could be meant for, and of the requests behind them."""
    if kind == "cancel":
        return list(model.schedules)
    if kind == "refund":
        fitting = [row for row in model.rows if row.moved and row.status == "APPLIED"]
    else:
        fitting = [row for row in model.rows if row.moved and row.status == "INFLIGHT"]
    groups = [row.parent for row in fitting if row.part and row.parent]
    return [row.transaction_id for row in fitting] + groups


def _any_action(draw: Draw, number: int, ids: list[str], model: Model) -> dict[str, Any]:
    kinds = ["commit", "commit", "void", "refund", "refund", "deadline", "cancel"]
    kind = draw(st.sampled_from(kinds))
    fitting = _fitting(model, kind)
    of_transactions = [own for own in ids if own.startswith("txn_") or kind != "cancel"]
    chosen = fitting if fitting and draw(st.integers(0, 3)) else of_transactions or fitting
    named = draw(st.sampled_from(chosen or ids))
    request: dict[str, Any] = {"kind": kind, "transaction_id": named}
    if kind == "deadline":
        return request
    if draw(st.booleans()):
        request["reference"] = f"r{draw(_old_or_new(number))}"
    if kind == "commit" and named.startswith("txn_"):
        rounded = {"amount": "0.015", "rounding": "half_up"}
        parts = [{}, {}, {"precise_amount": 2}, {"amount": "0.02"}, {"amount": "0.004"}, rounded]
        request |= draw(st.sampled_from(parts))
    if kind in ("commit", "void", "refund"):
        request |= _said(draw, number)
    if draw(st.booleans()):
        request["meta_data"] = {draw(st.sampled_from("ab")): number}
    return request


def _said(draw: Draw, number: int) -> dict[str, Any]:
    """Mostly nothing; else a date that is past, now or a little ahead, and words."""
    said: dict[str, Any] = {}
    if draw(st.integers(0, 2)) == 0:
        said["effective_date"] = date_of(number + draw(st.sampled_from([-9_000_000, -1, 0, 9])))
    if draw(st.integers(0, 3)) == 0:
        said["description"] = draw(st.sampled_from(["", "may", "june"]))
    return said


def _any_change(draw: Draw, number: int, ids: list[str]) -> dict[str, Any]:
    subject = draw(st.sampled_from([LEDGER, PERSON, *WALLETS[:2], *ids]))
    request: dict[str, Any] = {"kind": "change", "subject_id": subject}
    if draw(st.booleans()):
        request["reference"] = f"r{draw(_old_or_new(number))}"
    fields = {
        LEDGER: {"name": f"L{number}"},
        PERSON: {"city": f"C{number}"},
        WALLETS[1]: {"identity_id": PERSON},
    }.get(subject)
    if fields and draw(st.booleans()):
        return {**request, "fields": fields}
    return {**request, "meta_data": {draw(st.sampled_from("abc")): number}}


def _any_item(draw: Draw, number: int, name: str) -> dict[str, Any]:
    old = draw(st.integers(0, 5)) == 0
    item = _any_movement(draw, number, f"{draw(st.integers(0, number))}.0" if old else name)
    return {field: value for field, value in item.items() if field != "kind"}


def _any_movement(draw: Draw, number: int, name: str) -> dict[str, Any]:
    names = [*WALLETS[:3], "@World", "@Shop", "@Fees"]
    source = draw(st.sampled_from(names))
    others = [name for name in names if name != source]
    sides: dict[str, Any] = {"source": source, "destination": draw(st.sampled_from(others))}
    if draw(st.integers(0, 2)) == 0:
        several, single = draw(st.permutations(["source", "destination"]))
        sides = {single: source, f"{several}s": _some_legs(draw, others)}
    more: dict[str, Any] = {
        "allow_overdraft": draw(st.sampled_from([True, True, False])),
        "inflight": draw(st.booleans()),
        "overdraft_limit": draw(st.sampled_from(["0", "0", "0", "0.006", "0.05", "0.059"])),
        "currency": draw(st.sampled_from(["USD"] * 11 + ["EUR"])),
        "precision": draw(st.sampled_from([100] * 11 + [10])),
    }
    if more["inflight"]:
        for name_of_date in ("inflight_expiry_date", "inflight_commit_date"):
            if draw(st.integers(0, 3)) == 0:
                more[name_of_date] = date_of(number + draw(st.integers(-1, SOON)))
    more |= _said(draw, number)
    huge = draw(st.integers(0, 19)) == 0
    amount = draw(st.sampled_from([10**99, 10**100 - 1]) if huge else st.integers(1, 9))
    return movement(name, amount, sides, **more)
