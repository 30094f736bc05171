"""What is kept beside the journal can be made from it again, in place, all or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from tests.harness import Installation
from tests.integration.whole import Whole, bare, fill_whole

from daybook.errors import StoreUnavailable
from daybook.ledger.balance import internal_balance_id
from daybook.store.proof.rebuild import Difference, RebuildReport, compare, rebuild
from daybook.store.proof.verify import verify
from daybook.store.transfer.exporting import export_ledger

DAMAGE = (
    "UPDATE balances SET credit_balance = credit_balance + 1, debit_balance = 0, version = 0, "
    "inflight_credit_balance = 3, inflight_debit_balance = 'NaN', precision = NULL "
    "WHERE balance_id = '{balance_0}'",
    "UPDATE balances SET identity_id = NULL, meta_data = '{{}}', ledger_id = '{ledger}'",
    "DELETE FROM balances WHERE balance_id = '{balance_1}'",
    "UPDATE identities SET city = 'Wien', meta_data = NULL, position = 0, fingerprint = ''",
    "INSERT INTO identities (identity_id, fingerprint, position) VALUES (gen_random_uuid(), '', 1)",
    "UPDATE ledgers SET name = 'x', meta_data = '{{\"z\":1}}'",
    "UPDATE holds SET amount = amount + 1, committed = 1, voided = 2, commits = 9, leg_of = NULL, "
    "bulk = NULL, inflight_expiry_date = 'infinity', inflight_commit_date = NULL, "
    "source = destination, currency = 'EUR' WHERE transaction_id <> '{hold}'",
    "DELETE FROM holds WHERE transaction_id = '{hold}'",
    "INSERT INTO holds (transaction_id, source, destination, currency, precision, amount) "
    "VALUES (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'USD', 1, 5)",
    "UPDATE transaction_metadata SET meta_data = '{{}}' WHERE transaction_id = '{bulk}'",
    "DELETE FROM transaction_metadata WHERE transaction_id <> '{bulk}'",
    "INSERT INTO transaction_metadata VALUES (gen_random_uuid(), '{{}}')",
    "UPDATE schedules SET reference = 'x', scheduled_for = now() WHERE reference = 'later'",
    "INSERT INTO schedules SELECT '{never}', 'never', scheduled_for, position, flags, fingerprint, "
    "body FROM schedules LIMIT 1",
    "UPDATE taken_references SET owner = NULL WHERE reference = 'hold'",
    "DELETE FROM taken_references WHERE reference IN ('later', 'deposit-1')",
    "INSERT INTO taken_references VALUES ('nobody', gen_random_uuid())",
    "UPDATE balance_snapshots SET credit_balance = 0, position = 0 "
    "WHERE balance_id = '{balance_2}'",
    "DELETE FROM balance_snapshots WHERE balance_id = '{balance_3}'",
    "INSERT INTO balance_snapshots VALUES (gen_random_uuid(), now(), 1, 1, 1)",
    "UPDATE snapshots SET balances = 77",
)
"""Something of everything that the journal can tell again."""


def damage(installation: Installation, whole: Whole) -> None:
    for statement in DAMAGE:
        installation.rows(statement.format(**bare(whole)))


def content(installation: Installation) -> bytes:
    """The whole ledger as bytes."""
    lines: list[bytes] = []
    export_ledger(installation.owner, lines.append)
    taken = installation.rows("SELECT reference, owner FROM taken_references ORDER BY reference")
    return b"".join([*lines, repr(taken).encode()])


def rebuilt(installation: Installation) -> tuple[RebuildReport, list[Difference]]:
    found: list[Difference] = []
    return rebuild(installation.owner, found.append), found


def test_everything_that_was_damaged_is_as_it_was(installation: Installation) -> None:
    """Rebuilding reports each difference and gives the ledger back, to the byte."""
    whole = fill_whole(installation)
    before = content(installation)
    damage(installation, whole)
    compared: list[Difference] = []
    seen = compare(installation.engine, compared.append)
    assert content(installation) != before

    report, found = rebuilt(installation)

    assert report.ok
    assert report.changed
    assert content(installation) == before
    assert verify(installation.engine).violations == []
    assert not seen.ok
    assert not seen.changed
    tables = {
        "balances", "identities", "ledgers", "holds", "transaction_metadata", "schedules",
        "taken_references", "balance_snapshots", "snapshots",
    }  # fmt: skip
    assert {difference.table for difference in found} == set(report.differences) == tables
    first = whole.balances[0]
    ((credit,),) = installation.rows(
        "SELECT credit_balance FROM balances WHERE balance_id = %s", first[4:]
    )
    wrong = Difference("balances", first, "credit_balance", str(credit + 1), str(credit))
    assert wrong in found
    assert wrong in compared
    for place, said in (("later", "it is not taken"), ("nobody", "nothing uses it")):
        (missing,) = (each for each in found if each.place == place)
        assert said in str(missing.kept)
    gone = Difference(
        "balances", whole.balances[1], "", "the journal tells of it, but it does not exist", None
    )
    assert gone in found


def test_nothing_is_written_when_nothing_differs(installation: Installation) -> None:
    """A ledger that is right is left alone, also its rows' versions."""
    fill_whole(installation)
    versions = "SELECT xmin::text, ctid::text FROM balances ORDER BY balance_id"
    before = installation.rows(versions)

    report, found = rebuilt(installation)

    assert report.ok
    assert not report.changed
    assert found == []
    assert report.records > 50
    assert installation.rows(versions) == before


def test_a_broken_chain_is_no_ground_to_build_on(installation: Installation) -> None:
    """When the journal itself was changed, nothing is derived from it."""
    whole = fill_whole(installation)
    damage(installation, whole)
    installation.rows("ALTER TABLE transactions DISABLE TRIGGER ALL")
    installation.rows("UPDATE transactions SET precise_amount = 1 WHERE reference = 'item-1'")
    before = content(installation)

    report, found = rebuilt(installation)

    assert report.remaining.violations_by_code == {"chain_broken": 1}
    assert not report.ok
    assert not report.changed
    assert found == []
    assert content(installation) == before


def test_what_the_journal_cannot_tell_remains_and_is_named(installation: Installation) -> None:
    """The name of an internal balance, and the body of a schedule, stand nowhere else."""
    fill_whole(installation)
    installation.rows("DELETE FROM balances WHERE indicator = '@World'")
    installation.rows("DELETE FROM schedules WHERE reference = 'later'")
    installation.rows("UPDATE balances SET version = version + 1")

    report, _ = rebuilt(installation)

    assert report.changed
    assert not report.ok
    assert report.remaining.violations_by_code["schedule_mismatch"] == 1
    world = internal_balance_id("@World", "USD")
    assert world in {violation.where for violation in report.remaining.violations}


def test_workers_wait_until_it_is_done(installation: Installation) -> None:
    """While it runs no batch is applied; what was accepted meanwhile is applied after it."""
    client = installation.client
    target = client.create_balance(client.create_ledger("Customers").id, "USD").id
    deposit: Any = {"source": "@World", "destination": target, "currency": "USD", "amount": "1"}
    deposit["precision"] = "100"
    client.enqueue(reference="before", allow_overdraft=True, **deposit)
    installation.drain()
    installation.rows("UPDATE balances SET version = version + 1")
    busy: list[bool] = []

    def post_meanwhile(difference: Difference) -> None:
        del difference
        client.enqueue(reference=f"meanwhile-{len(busy)}", allow_overdraft=True, **deposit)
        applier = installation.applier()
        busy.extend(applier.apply_batch(partition, 10).busy for partition in range(2))

    report = rebuild(installation.owner, post_meanwhile)

    assert report.ok
    assert busy == [True] * 4
    installation.drain()
    assert verify(installation.engine).violations == []
    ((version,),) = installation.rows(
        "SELECT version FROM balances WHERE balance_id = %s", target[4:]
    )
    assert version == 3


@pytest.mark.parametrize(
    "lock", ["SELECT FROM partitions WHERE partition = 1 FOR UPDATE", "LOCK TABLE snapshots"]
)
def test_it_waits_for_others_within_bounds(installation: Installation, lock: str) -> None:
    """A unit of work that does not end leaves a clear error, and nothing changed."""
    installation.rows("UPDATE ledgers SET name = 'x'")
    with psycopg.connect(installation.owner_url) as other:
        other.execute(lock)
        with pytest.raises(StoreUnavailable, match=r"not over after 0\.2 s: nothing"):
            rebuild(installation.owner, _ignore, patience_seconds=0.2)
    assert installation.rows("SELECT name FROM ledgers") == [("x",)]
    assert rebuild(installation.owner, _ignore).changed


def _ignore(difference: Difference) -> None:
    del difference


def test_what_was_invented_goes_whatever_names_it(installation: Installation) -> None:
    """An owner, a ledger and a balance never created, and a real balance that names them."""
    whole = fill_whole(installation)
    before = content(installation)
    for statement in (
        "INSERT INTO identities (identity_id, fingerprint, position) VALUES ('{never}', '', 1)",
        "INSERT INTO ledgers (ledger_id, name, fingerprint, position) VALUES ('ldg_x', 'x', '', 1)",
        "INSERT INTO balances (balance_id, ledger_id, currency, identity_id) "
        "VALUES (gen_random_uuid(), 'ldg_x', 'USD', '{never}')",
        "UPDATE balances SET ledger_id = 'ldg_x', identity_id = '{never}' "
        "WHERE balance_id = '{balance_2}'",
    ):
        installation.rows(statement.format(**bare(whole)))

    report, found = rebuilt(installation)

    assert report.ok
    assert {difference.table for difference in found} == {"identities", "ledgers", "balances"}
    assert content(installation) == before


@pytest.fixture
def damaged(installation: Installation) -> Callable[[], bool]:
    """A ledger of which one balance differs; returns whether it still does."""
    client = installation.client
    client.create_balance(client.create_ledger("Customers").id, "USD")
    installation.drain()
    installation.rows("UPDATE balances SET version = 7")
    return lambda: installation.rows("SELECT version FROM balances") == [(7,)]


def test_the_command_checks_reports_and_mends(
    installation: Installation, damaged: Callable[[], bool]
) -> None:
    """--check exits with 1 and changes nothing; without it the ledger is mended."""
    checked = installation.run("rebuild", "--check", "--json")
    assert checked.returncode == 1, checked.stderr
    answer = json.loads(checked.stdout)
    (difference,) = answer["differences"]
    assert (difference["column"], difference["kept"], difference["journal"]) == (
        "version",
        "7",
        "0",
    )
    assert answer["rows_by_table"] == {"balances": 1}
    assert (answer["ok"], answer["changed"]) == (False, False)
    assert damaged()

    mended = installation.run("rebuild")
    assert mended.returncode == 0, mended.stderr
    assert "version" in mended.stdout
    assert "All is right now." in mended.stdout
    assert not damaged()

    again = installation.run("rebuild", "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout)["differences"] == []
