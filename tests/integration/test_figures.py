"""The longest figures: what is refused hangs on what is recorded, never on who applies it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.harness import Installation

from daybook.ledger.money import FIGURE_MAX
from daybook.store.proof.verify import verify

SMALL = 5
Requests = list[tuple[str, str, str, int, dict[str, Any]]]
STORY: Requests = [
    ("first-a", "@World", "@A", 1, {}),
    ("first-b", "@Else", "@B", 1, {}),
    ("first-c", "@C", "@D", 1, {}),
    ("nearly", "@Mint", "@A", FIGURE_MAX - 1 - SMALL, {}),
    ("fits", "@World", "@A", SMALL, {}),
    ("does-not", "@World", "@A", 1, {}),
    ("nor-held", "@World", "@A", 1, {"inflight": True}),
    ("held", "@Gold", "@B", FIGURE_MAX - 1 - SMALL, {"inflight": True}),
    ("beside-the-hold", "@Else", "@B", SMALL, {}),
    ("beyond-the-hold", "@Else", "@B", 1, {}),
    ("spent", "@C", "@Sink", FIGURE_MAX - 1 - SMALL, {}),
    ("unchecked", "@C", "@D", SMALL, {}),
    ("too-much-unchecked", "@C", "@D", 1, {}),
    ("limited", "@C", "@D", 1, {"allow_overdraft": False, "overdraft_limit": "1e99"}),
]
"""Reference, source, destination, amount in minor units, and more."""

REFUSED = {"does-not", "nor-held", "beyond-the-hold", "too-much-unchecked"}


def play(installation: Installation, appliers: Callable[[int], Any]) -> dict[str, Any]:
    """The story, each request applied by the next worker; what came of it."""
    client = installation.client
    for number, (reference, source, destination, amount, more) in enumerate(STORY):
        client.enqueue(
            reference=reference,
            source=source,
            destination=destination,
            currency="USD",
            precise_amount=str(amount),
            precision=1,
            **{"allow_overdraft": True, **more},
        )
        installation.drain(applier=appliers(number))
    refund_of = client.status(reference="first-a").transaction_id
    assert refund_of is not None
    client.refund(refund_of, reference="back")
    installation.drain(applier=appliers(0))
    rows = installation.rows(
        "SELECT reference, status, reason FROM transactions WHERE reference IS NOT NULL"
    )
    figures = installation.rows(
        "SELECT indicator, credit_balance, debit_balance, inflight_credit_balance, "
        "inflight_debit_balance, version FROM balances ORDER BY 1"
    )
    assert verify(installation.engine).violations == []
    return {"outcomes": {row[0]: row[1:] for row in rows}, "figures": figures}


@pytest.mark.parametrize("partitions", [1, 2])
def test_workers_with_different_memories_decide_the_same(
    install_daybook: Callable[[int], Installation], partitions: int
) -> None:
    """One that has seen everything, one that knows nothing, and two that know a half each."""
    made = [install_daybook(partitions) for _ in range(3)]
    one = made[0].applier()
    two = [made[2].applier(), made[2].applier()]
    # The second of the two sees nothing but what makes figures long.
    told = {"nearly", "held", "spent"}
    found = [
        play(made[0], lambda _: one),
        play(made[1], lambda _: made[1].applier()),
        play(made[2], lambda number: two[STORY[number][0] in told]),
    ]
    outcomes = found[1]["outcomes"]
    for reference, (_, reason) in outcomes.items():
        assert (reason == "figure_overflow") == (reference in REFUSED), reference
    assert outcomes["back"][0] == "APPLIED"
    assert found[0] == found[1]
    assert found[2] == found[1]
