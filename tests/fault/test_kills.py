"""Workers are killed with ``kill -9`` while they apply: nothing is lost, doubled or reordered."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.fault.killer import Killer
from tests.fault.proof import assert_proved
from tests.fault.requests import deposit, make_balances, move
from tests.fault.sweeping import wait_decided
from tests.harness import Installation, wait_until
from tests.traffic.mix import mixed

EXAMPLES = Path(__file__).parents[2] / "examples"
DATA = Path(os.environ.get("DAYBOOK_DATA", EXAMPLES.parents[1] / "shared" / "data"))
ZEROS = "0x" + "0" * 40
TOLD_SECONDS_MAX = 60
"""Until it is read what became of requests that are all applied."""

needs_data = pytest.mark.skipif(
    not (DATA / "bank-1993.csv").exists(), reason="the files of DAYBOOK_DATA are not here"
)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers take a few entries at a time, so that a kill leaves a backlog behind."""
    monkeypatch.setenv("DAYBOOK_BATCH_ENTRIES_MIN", "4")
    monkeypatch.setenv("DAYBOOK_BATCH_ENTRIES_MAX", "16")


def feed(installation: Installation, requests: list[Any], killer: Killer, kills: int) -> list[Any]:
    """Enqueue in order, slowly enough that ``kills`` workers die on the way."""
    receipts: list[Any] = []
    part = max(1, len(requests) // (4 * kills))
    for start in range(0, len(requests), part):
        receipts += installation.client.enqueue_many(requests[start : start + part])
        wanted = (kills + 1) * start // len(requests)
        wait_until(
            partial(killer.has_killed, wanted),
            f"{wanted} workers were killed",
            pause=0.01,
            progress=lambda: killer.kills,
        )
    return receipts


@pytest.mark.usefixtures("small_batches")
def test_numbered_debits_apply_in_order_while_four_workers_are_killed(
    installation: Installation,
) -> None:
    """1,000 debits of one balance by one producer: applied 1..1000, in order, once each."""
    (a,), _ = make_balances(installation, 1)
    installation.client.enqueue(deposit("open", a, 1_000))
    debits = [move(f"debit-{n}", a, "@Shop", 1) for n in range(1, 1_001)]
    workers = installation.workers(4)
    with Killer(installation, workers, 0.5, seed=1) as killer:
        receipts = feed(installation, debits, killer, kills=6)
    assert killer.kills >= 6
    installation.wait_applied()
    outcomes = installation.client.wait_many(receipts, TOLD_SECONDS_MAX)
    assert {o and o.status for o in outcomes} == {"APPLIED"}
    applied = installation.rows(
        "SELECT reference FROM transactions WHERE source = %s ORDER BY partition, sequence", a[4:]
    )
    assert [reference for (reference,) in applied] == [f"debit-{n}" for n in range(1, 1_001)]
    assert_proved(installation)


@pytest.mark.long
@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(
    ("partitions", "number", "kills"),
    [
        (2, 500, 4),
        pytest.param(1, 3_000, 25, marks=pytest.mark.campaign),
        pytest.param(2, 3_000, 25, marks=pytest.mark.campaign),
        pytest.param(4, 3_000, 25, marks=pytest.mark.campaign),
    ],
)
def test_a_mixed_load_stands_the_judge_while_workers_are_killed(
    install_daybook: Callable[[int], Installation], partitions: int, number: int, kills: int
) -> None:
    """Everything accepted has one outcome, in its order, told to its producer; the books agree."""
    installation = install_daybook(partitions)
    balances, made = make_balances(installation, 20, seed=partitions)
    requests = mixed(Random(partitions), balances, number, "m")
    workers = installation.workers(2)
    with Killer(installation, workers, 0.5, seed=partitions) as killer:
        receipts = made + feed(installation, requests, killer, kills)
    assert killer.kills >= kills
    wait_decided(installation)
    outcomes = installation.client.wait_many(receipts, TOLD_SECONDS_MAX)
    assert {o and o.final for o in outcomes} == {True}
    asked = [row for row in assert_proved(installation) if row["kind"] != "Deadline"]
    accepted = [receipt.id for receipt in receipts if receipt.state == "accepted"]
    assert {row["request_id"] for row in asked} == set(accepted)
    assert len(accepted) == len(set(accepted))


def backfill(installation: Installation, name: str, mapping: str, rate: int) -> dict[str, Any]:
    """Run ``daybook backfill`` beside the kills; its summary."""
    options = {
        "--mapping": EXAMPLES / mapping,
        "--rate": rate,
        "--rejects": installation.folder / "rejects.csv",
    }
    words = [str(word) for option in options.items() for word in option]
    done = installation.run_long("backfill", str(DATA / name), "--json", *words)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def figures_by_key(installation: Installation) -> dict[str, int]:
    rows = installation.rows(
        "SELECT meta_data->>'external_id', credit_balance - debit_balance FROM balances "
        "WHERE indicator IS NULL"
    )
    return {key: int(figure) for key, figure in rows}


def references_by_key(installation: Installation, side: str) -> dict[str, list[str]]:
    """The references in each balance's journal, in the order in which they were applied."""
    rows = installation.rows(
        "SELECT b.meta_data->>'external_id', t.reference FROM transactions t "
        f"JOIN balances b ON b.balance_id = t.{side} WHERE b.indicator IS NULL "
        "ORDER BY t.partition, t.sequence"
    )
    found: dict[str, list[str]] = defaultdict(list)
    for key, reference in rows:
        found[key].append(reference)
    return found


@pytest.mark.long
@needs_data
@pytest.mark.campaign
def test_a_year_of_a_bank_survives_kills(installation: Installation) -> None:
    """Two workers die every second or so: exact balances, each account in the order of the file."""
    figures: Counter[str] = Counter()
    spent: dict[str, list[str]] = defaultdict(list)
    received: dict[str, list[str]] = defaultdict(list)
    with (DATA / "bank-1993.csv").open() as file:
        for row in csv.DictReader(file, delimiter=";"):
            sign, side = (1, received) if row["type"] == "PRIJEM" else (-1, spent)
            figures[row["account_id"]] += sign * int(Decimal(row["amount"]) * 100)
            side[row["account_id"]].append(f"pkdd99-{row['trans_id']}")
    workers = installation.workers(2)
    with Killer(installation, workers, 1.0, seed=3) as killer:
        summary = backfill(installation, "bank-1993.csv", "bank-csv.toml", 1_000)
    assert killer.kills >= 3
    assert summary["applied"] == 14_125
    assert figures_by_key(installation) == figures
    assert references_by_key(installation, "source") == spent
    assert references_by_key(installation, "destination") == received
    assert_proved(installation)


@needs_data
@pytest.mark.parametrize(
    "partitions",
    [
        pytest.param(8, marks=pytest.mark.campaign),
        pytest.param(1, marks=pytest.mark.campaign),
        pytest.param(2, marks=pytest.mark.campaign),
    ],
)
def test_token_transfers_survive_kills(
    install_daybook: Callable[[int], Installation], partitions: int
) -> None:
    """No transfer is refused for money that came first, and every figure is exact."""
    installation = install_daybook(partitions)
    figures: Counter[str] = Counter()
    spent: dict[str, list[str]] = defaultdict(list)
    with (DATA / "token-openings.csv").open() as file:
        for row in csv.DictReader(file):
            figures[f"{row['token']}/{row['address']}"] += int(row["value"])
    with (DATA / "token-transfers.csv").open() as file:
        for row in csv.DictReader(file):
            value, reference = int(row["value"]), f"{row['tx']}-{row['log_index']}"
            if value and row["from"] != ZEROS:
                figures[f"{row['token']}/{row['from']}"] -= value
                spent[f"{row['token']}/{row['from']}"].append(reference)
            if value and row["to"] != ZEROS:
                figures[f"{row['token']}/{row['to']}"] += value
    workers = installation.workers(2)
    with Killer(installation, workers, 1.0, seed=partitions) as killer:
        backfill(installation, "token-openings.csv", "token-openings.toml", 10_000)
        summary = backfill(installation, "token-transfers.csv", "token-transfers.toml", 300)
    assert killer.kills >= 3
    assert (summary["applied"], summary["refused_by_ledger"]) == (2_491, {})
    assert figures_by_key(installation) == figures
    assert references_by_key(installation, "source") == spent
    assert_proved(installation)
