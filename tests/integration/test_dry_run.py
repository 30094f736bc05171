"""Dry runs: what would happen, to every kind of request, and that nothing has."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.fault.requests import deposit, make_balances, move
from tests.harness import Installation, wait_until

from daybook import AsyncClient
from daybook.apply.dry_run import DryRun
from daybook.client import flows
from daybook.errors import MalformedRequest, OutcomeUnknown
from daybook.ledger.preview import Preview
from daybook.store.schema import metadata


@pytest.fixture
def dry_run(installation: Installation) -> DryRun:
    """A dry run with the rights of a worker."""
    return DryRun(installation.engine)


def everything(installation: Installation) -> list[Any]:
    """All that stands in the database and in the log."""
    tables = [sorted(installation.rows(f"SELECT {t}::text FROM {t}")) for t in metadata.tables]
    return [*tables, sorted(installation.redis.keys("{daybook}*"))]


@pytest.fixture
def balances(installation: Installation) -> Iterator[list[str]]:
    """Two balances with 1,000 each; whatever is tried with them must leave no trace."""
    names, _ = make_balances(installation, 2)
    for name in names:
        installation.client.enqueue(deposit(f"fund-{name}", name, 1_000))
    installation.drain()
    before = everything(installation)
    yield names
    assert everything(installation) == before


def available(preview: Preview) -> list[tuple[int, int]]:
    """What is available of each balance, before and after."""
    return [(each.before.available, each.after.available) for each in preview.balances]


def test_a_transaction_shows_both_sides(dry_run: DryRun, balances: list[str]) -> None:
    """Each balance before and after; an internal one that does not exist yet says so."""
    first, second = balances
    preview = dry_run.enqueue(move("r", first, second, 400))
    assert (preview.would_apply, preview.status) == (True, "APPLIED")
    assert available(preview) == [(1_000, 600), (1_000, 1_400)]
    new = dry_run.enqueue(move("r", first, "@Fees", 1)).balances[1]
    assert (new.exists, new.indicator, new.after.balance) == (False, "@Fees", 1)
    held = dry_run.enqueue(move("r", first, second, 400, inflight=True))
    assert held.status == "INFLIGHT"
    assert available(held) == [(1_000, 600), (1_000, 1_000)]


def test_a_rejection_changes_no_figure(dry_run: DryRun, balances: list[str]) -> None:
    """The code and the sentence that the request would be refused with."""
    first, second = balances
    preview = dry_run.enqueue(move("r", first, second, 1_001))
    assert (preview.would_apply, preview.reason) == (False, "insufficient_funds")
    assert available(preview) == [(1_000, 1_000)] * 2
    assert "1000 available" in (preview.detail or "")


def test_a_reference_that_is_taken_is_seen(dry_run: DryRun, balances: list[str]) -> None:
    """The same request again would do nothing, another one under its reference is refused."""
    again = dry_run.enqueue(deposit(f"fund-{balances[0]}", balances[0], 1_000))
    assert (again.would_apply, again.duplicate) == (False, True)
    other = dry_run.enqueue(deposit(f"fund-{balances[0]}", balances[0], 1))
    assert other.reason == "reference_conflict"


def test_a_bulk_is_seen_as_a_whole(dry_run: DryRun, balances: list[str]) -> None:
    """Items build on each other; an atomic bulk with a refused item would do nothing."""
    first, second = balances
    items = [move("a", first, second, 1_000), move("b", second, first, 1_500)]
    preview = dry_run.bulk(items, atomic=True)
    assert preview.would_apply
    assert available(preview) == [(1_000, 1_500), (1_000, 500)]
    said = dry_run.bulk(items, description="may", effective_date="2024-05-01T00:00:00Z")
    assert {(each.effective_date[:10], each.description) for each in said.records} == {
        ("2024-05-01", "may")
    }
    refused = dry_run.bulk([*items, move("c", first, second, 9_999)], atomic=True)
    assert not refused.would_apply
    assert available(refused) == [(1_000, 1_000)] * 2
    assert [record.reason for record in refused.records[1:]] == [
        "bulk_aborted",
        "bulk_aborted",
        "insufficient_funds",
    ]


def test_actions_are_seen(installation: Installation, dry_run: DryRun, balances: list[str]) -> None:
    """Of what was recorded before: refunds; of what was not: why they would be refused."""
    ((paid,),) = installation.rows(
        "SELECT 'txn_' || transaction_id FROM transactions WHERE reference = %s",
        f"fund-{balances[0]}",
    )
    refund = dry_run.refund(paid)
    assert refund.would_apply
    assert {each.after.balance for each in refund.balances} == {0, -1_000}
    assert dry_run.commit(paid).reason == "not_inflight"
    assert dry_run.void(paid).reason == "not_inflight"
    assert dry_run.cancel(paid).reason == "not_scheduled"
    dated = dry_run.refund(paid, effective_date="2024-03-01T12:00:00Z", description="back")
    assert [(each.effective_date, each.description) for each in dated.records] == [
        ("2024-03-01T12:00:00.000000+00:00", "back")
    ]
    with pytest.raises(MalformedRequest, match="effective_date: lies more than a day"):
        dry_run.refund(paid, effective_date="2200-01-01T00:00:00Z")
    assert dry_run.merge_meta_data(paid, {"k": 1}).would_apply
    assert dry_run.create_ledger("L").would_apply


def test_a_preview_survives_json(dry_run: DryRun, balances: list[str]) -> None:
    """As data and back, with figures of any length."""
    first, second = balances
    request = move("r", first, second, 10**60, allow_overdraft=True)
    preview = dry_run.enqueue(request)
    assert preview.balances[0].after.balance == 1_000 - 10**60
    assert Preview.from_dict(json.loads(json.dumps(preview.as_dict()))) == preview


def test_a_producer_asks_a_worker(installation: Installation, balances: list[str]) -> None:
    """Without a database of its own, waiting or awaiting; no worker means no answer, said so."""
    first, second = balances
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(flows, "ANSWER_SECONDS_MAX", 0.2)
        with pytest.raises(OutcomeUnknown, match="no worker has looked"):
            installation.client.dry_run.enqueue(move("r", first, second, 400))

    def worker_answers() -> bool:
        try:
            return bool(installation.client.dry_run.create_ledger("L").would_apply)
        except OutcomeUnknown:  # it is still starting
            return False

    async def ask() -> Preview:
        async with AsyncClient(settings=installation.settings) as client:
            return await client.dry_run.bulk([move("r", first, second, 400)], atomic=True)

    with installation.workers(beat=False):
        wait_until(worker_answers, "a worker that answers", 120)
        preview = installation.client.dry_run.enqueue(move("r", first, second, 400))
        assert available(preview) == [(1_000, 600), (1_000, 1_400)]
        assert available(asyncio.run(ask())) == available(preview)


def test_the_command_line_shows_it(installation: Installation, balances: list[str]) -> None:
    """Tables for eyes, the whole preview for programs, and an exit code that says no."""
    first, second = balances
    request = json.dumps(move("r", first, "@New", 1_000))
    shown = installation.run("enqueue", request, "--dry-run")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "@New (new)" in shown.stdout
    items = json.dumps([move("a", first, second, 1), move("b", second, first, 10**6)])
    refused = installation.run("bulk", "-", "--atomic", "--dry-run", "--json", input=items)
    assert refused.returncode == 1
    given = json.loads(refused.stdout)
    assert given.pop("dry_run") is True
    preview = Preview.from_dict(given)
    assert (preview.would_apply, preview.reason) == (False, "insufficient_funds")
