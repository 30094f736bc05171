"""Workloads for hypothesis: small worlds in which everything touches everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from daybook.ledger.transaction import Entry
from daybook.requests import ordering_key, slot_of
from tests.oracle.model import Model
from tests.oracle.scenario import FIRST_POSITION, id_of, transaction_id_of
from tests.oracle.shelf import entry_of

Draw = Callable[[st.SearchStrategy[Any]], Any]

LEDGER = id_of("ldg", "L")
WALLETS = [id_of("bln", f"wallet {n}") for n in range(5)]
REQUESTS_MAX = 24


def slot_of_request(request: dict[str, Any], request_id: str) -> int:
    """The slot of a request that has no id yet, or of the one that it has."""
    if request["kind"] == "transaction":
        default = ordering_key(request["source"], request["destination"])
        return slot_of(request.get("ordering_key") or default)
    if request["kind"] in ("commit", "void"):
        return int(request["transaction_id"][19:22], 16)
    return slot_of(request_id)


def entries_of(requests: list[tuple[dict[str, Any], str]]) -> list[Entry]:
    """Requests with their ids as a log, a millisecond apart in pairs."""
    return [
        entry_of(request, request_id, FIRST_POSITION + (number // 2 << 20) + number % 2)
        for number, (request, request_id) in enumerate(requests)
    ]


def transaction(number: int, source: str, destination: str, amount: int, **more: Any) -> Any:
    """A transaction in minor units, with its id."""
    request = {
        "kind": "transaction",
        "reference": f"r{number}",
        "source": source,
        "destination": destination,
        "currency": "USD",
        "precise_amount": amount,
        "precision": 100,
        **more,
    }
    return request, transaction_id_of(f"t{number}", slot_of_request(request, ""))


def action(number: int, kind: str, hold_id: str, **more: Any) -> Any:
    """A commit or a void, with its id."""
    request = {"kind": kind, "transaction_id": hold_id, **more}
    return request, transaction_id_of(f"t{number}", slot_of_request(request, ""))


def openings() -> list[tuple[dict[str, Any], str]]:
    """The ledger and the wallets."""
    ledger = ({"kind": "ledger", "name": "L"}, LEDGER)
    wallet = {"kind": "balance", "ledger_id": LEDGER, "currency": "USD"}
    return [ledger, *((wallet, wallet_id) for wallet_id in WALLETS)]


@st.composite
def valid_in_order(draw: Draw) -> list[tuple[dict[str, Any], str]]:
    """Requests that all succeed when they are posted in order.

    Amounts are biased to all that is there, so that most spends need the credit just before.
    """
    model, requests = Model(), openings()
    for request, request_id in requests:
        model.take(request, request_id)
    for number in range(draw(st.integers(1, REQUESTS_MAX))):
        request, request_id = _valid(draw, model, number)
        outcome = model.take(request, request_id)
        assert outcome.reason is None, (request, outcome)
        requests.append((request, request_id))
    return requests


def _valid(draw: Draw, model: Model, number: int) -> tuple[dict[str, Any], str]:
    open_holds = [hold_id for hold_id, hold in model.holds.items() if hold.open]
    if open_holds and draw(st.booleans()):
        hold_id = draw(st.sampled_from(open_holds))
        if draw(st.booleans()):
            return action(number, "void", hold_id)
        part = draw(st.sampled_from([None, 1, model.holds[hold_id].open]))
        return action(number, "commit", hold_id, **({"precise_amount": part} if part else {}))
    payers = {wallet: model.balances[wallet].available for wallet in WALLETS}
    shop = model.balances.get(("@Shop", "USD"))
    payers["@Shop"] = shop.available if shop else 0
    rich = [payer for payer, available in payers.items() if available > 0]
    if not rich or draw(st.integers(0, 4)) == 0:
        destination = draw(st.sampled_from(WALLETS))
        amount = draw(st.integers(1, 10))
        return transaction(number, "@World", destination, amount, allow_overdraft=True)
    source = draw(st.sampled_from(rich))
    available = payers[source]
    amount = draw(st.one_of(st.just(available), st.integers(1, available)))
    others = [wallet for wallet in WALLETS if wallet != source]
    shops = ["@Shop"] if source != "@Shop" else []
    destination = draw(st.sampled_from([*others, *shops, *shops]))
    return transaction(
        number, source, destination, amount, inflight=draw(st.sampled_from([False, False, True]))
    )


@st.composite
def anything(draw: Draw) -> list[tuple[dict[str, Any], str]]:
    """Requests of every kind, many of which are refused, repeated, or in conflict."""
    requests: list[tuple[dict[str, Any], str]] = []
    pending = openings()
    for number in range(draw(st.integers(1, 2 * REQUESTS_MAX))):
        choice = draw(st.integers(0, 9))
        if pending and choice < 5:
            requests.append(pending.pop(0))
        elif requests and choice == 9:
            requests.append(draw(st.sampled_from(requests)))
        else:
            requests.append(_any_request(draw, number, requests))
    return requests


def _any_request(
    draw: Draw, number: int, before: list[tuple[dict[str, Any], str]]
) -> tuple[dict[str, Any], str]:
    ids = [request_id for _, request_id in before if request_id.startswith("txn_")]
    if ids and draw(st.integers(0, 2)) == 0:
        more: dict[str, Any] = {}
        if draw(st.booleans()):
            more["reference"] = f"r{draw(st.integers(0, number))}"
        kind = draw(st.sampled_from(["commit", "commit", "void"]))
        if kind == "commit":
            more |= draw(st.sampled_from([{}, {"precise_amount": 2}, {"amount": "0.004"}]))
        return action(number, kind, draw(st.sampled_from(ids)), **more)
    names = [*WALLETS[:3], "@World", "@Shop", "@Fees"]
    source = draw(st.sampled_from(names))
    destination = draw(st.sampled_from([name for name in names if name != source]))
    more = {
        "allow_overdraft": draw(st.booleans()),
        "inflight": draw(st.booleans()),
        "overdraft_limit": draw(st.sampled_from(["0", "0", "0.004", "0.05"])),
        "currency": draw(st.sampled_from(["USD", "USD", "USD", "EUR"])),
        "precision": draw(st.sampled_from([100, 100, 100, 10])),
        "reference": f"r{draw(st.one_of(st.just(number), st.integers(0, number)))}",
    }
    amount = draw(st.one_of(st.integers(1, 9), st.sampled_from([10**99, 10**100 - 1])))
    return transaction(number, source, destination, amount, **more)
