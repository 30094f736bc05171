"""Requests that fault tests send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from daybook import BalanceRequest
from daybook.client.receipts import Receipt
from daybook.requests import mint_id
from daybook.requests.routing import ordering_key_of, slot_of
from tests.harness import Installation

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
