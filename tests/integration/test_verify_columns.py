"""Every column of every table: an edit of it is found, or the page says why it can't be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.fault.requests import deposit
from tests.harness import Cluster, Installation
from tests.integration.whole import tamper

from daybook.apply.epochs import advance
from daybook.ledger.identity import IDENTITY_FIELDS
from daybook.requests import mint_id, slot_of
from daybook.store.proof.verify import verify
from daybook.store.read.snapshots import take_snapshot
from daybook.store.schema import REGISTRY_TABLES, metadata

PAGE = Path(__file__).parents[2] / "docs/how-to/rebuild.md"
UNKNOWN = "bln_00000000-0000-4000-8000-00000000000"


@pytest.fixture(scope="module")
def full(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Something in every table, by the ways of producers and workers; one partition is closed."""
    installation = Installation(cluster, 3, tmp_path_factory.mktemp("full"))
    _fill(installation)
    resize(installation, 2)
    _fill_again(installation)
    yield installation
    installation.close()


def resize(installation: Installation, partitions: int) -> None:
    installation.drain()
    installation.log.epochs.begin(partitions)
    assert advance(installation.store, installation.log, installation.applier().apply_next)


def _fill(one: Installation) -> None:
    client = one.client
    ledger = client.create_ledger("Customers", meta_data={"a": 1}).id
    known: dict[str, Any] = {name: name for name in IDENTITY_FIELDS if name != "dob"}
    owner = client.create_identity(**known).id
    owned = [
        client.create_balance(ledger, "USD", identity_id=owner, meta_data={"b": 2}).id
        for _ in range(8)
    ]
    client.enqueue_many([deposit(f"in-{n}", name, 100) for n, name in enumerate(owned)])
    later = datetime.now(UTC) + timedelta(days=30)
    dates = {
        "inflight_expiry_date": (later + timedelta(days=1)).isoformat(),
        "inflight_commit_date": later.isoformat(),
    }
    shares = [{"identifier": name, "distribution": "50%"} for name in owned[:2]]
    legs = deposit("legs", "", 10, inflight=True, destinations=shares, **dates)
    client.enqueue({name: value for name, value in legs.items() if name != "destination"})
    bulk = [deposit("item", owned[0], 5, inflight=True)]
    client.bulk(bulk, reference="bulk")
    client.enqueue(deposit("later", owned[0], 5, scheduled_for=later.isoformat()))
    client.merge_meta_data(client.enqueue(deposit("noted", owned[0], 1)).id, {"note": 1})
    one.drain()
    assert take_snapshot(one.engine, one.log)


def _fill_again(one: Installation) -> None:
    """What was refused, and at last what waits for another partition."""
    client = one.client
    client.enqueue(deposit("to-nobody", f"{UNKNOWN}9", 1))
    one.redis.xadd(
        one.log.keys.log(0),
        {"b": '{"reference":"no-request"}', "i": mint_id("txn"), "k": "t:no-request"},
        id=f"{one.log.now_ms()}-1",
    )
    one.drain()
    place = {p: next(f"k{n}" for n in range(99) if slot_of(f"k{n}") % 2 == p) for p in (0, 1)}
    poor = [deposit(f"poor-{p}", f"{UNKNOWN}{p}", 1, ordering_key=place[p]) for p in (0, 1)]
    client.enqueue_many(poor)
    one.applier().apply_batch(1, 100)


LEDGER_TABLES = [table for table in metadata.sorted_tables if table not in REGISTRY_TABLES]


def test_an_untouched_ledger_is_right(full: Installation) -> None:
    """Nothing is wrong with it, and no table is empty."""
    assert verify(full.engine).violations == []
    for table in LEDGER_TABLES:
        assert full.rows(f"SELECT 1 FROM {table.name} LIMIT 1"), table.name


NEWEST = "epoch = (SELECT max(epoch) FROM epochs)"
ONE_BALANCE = (
    "indicator IS NULL AND balance_id = (SELECT max(balance_id::text) FROM balances "
    "WHERE indicator IS NULL)::uuid"
)
CUSTOMERS = "name = 'Customers'"
A_LEG = (
    "leg_of IS NOT NULL AND transaction_id = (SELECT max(transaction_id::text) FROM holds "
    "WHERE leg_of IS NOT NULL)::uuid"
)
ODD = "'00000000-0000-4000-8000-000000000abc'"
WITH_RECORD = "reference = 'to-nobody'"
UNDECIDED = "reference = 'no-request'"
A_SNAPSHOT = "balance_id = (SELECT max(balance_id::text) FROM balance_snapshots)::uuid"

EVERY = 3
"""Each third column of a table is edited in a short run, the others in the campaign."""

EDITS: dict[str, dict[str, tuple[str, str]]] = {
    "installation": {"partitions": ("partitions + 1", "true")},
    "epochs": {
        "epoch": ("epoch + 1", NEWEST),
        "partitions": ("partitions + 1", NEWEST),
        "fence": ("fence + (1::bigint << 40)", NEWEST),
    },
    "partitions": {
        "partition": ("77", "partition = 2"),
        "cursor": ("cursor - 1", "partition = 2"),
        "sequence": ("sequence + 1", "partition = 2"),
        "head": ("sha256('x')", "partition = 2"),
        "batch_sequence": ("sequence + 1", "partition = 2"),
        "epoch": ("epoch - 1", "partition = 2"),
        "total": ("total + 1", "partition = 2"),
    },
    "taken_references": {
        "reference": ("'other'", "reference = 'noted'"),
        "owner": ("gen_random_uuid()", "reference = 'noted'"),
    },
    "ledgers": {
        "ledger_id": ("'ldg_other'", CUSTOMERS),
        "name": ("'other'", CUSTOMERS),
        "meta_data": ("NULL", CUSTOMERS),
        "fingerprint": ("sha256('x')", CUSTOMERS),
        "position": ("position + 1", CUSTOMERS),
    },
    "balances": {
        "balance_id": ("gen_random_uuid()", ONE_BALANCE),
        "ledger_id": ("'general_ledger_id'", ONE_BALANCE),
        "currency": ("'EUR'", ONE_BALANCE),
        "precision": ("precision + 1", ONE_BALANCE),
        "indicator": ("'@Other'", ONE_BALANCE),
        "meta_data": ("NULL", ONE_BALANCE),
        "credit_balance": ("credit_balance + 1", ONE_BALANCE),
        "debit_balance": ("debit_balance + 1", ONE_BALANCE),
        "inflight_credit_balance": ("inflight_credit_balance + 1", ONE_BALANCE),
        "inflight_debit_balance": ("inflight_debit_balance + 1", ONE_BALANCE),
        "version": ("version + 1", ONE_BALANCE),
        "fingerprint": ("sha256('x')", "indicator = '@World'"),
        "position": ("position - (1::bigint << 40)", "indicator = '@World'"),
        "identity_id": ("NULL", ONE_BALANCE),
    },
    "holds": {
        "transaction_id": ("gen_random_uuid()", A_LEG),
        "source": ("destination", A_LEG),
        "destination": ("source", A_LEG),
        "currency": ("'EUR'", A_LEG),
        "precision": ("precision + 1", A_LEG),
        "amount": ("amount + 1", A_LEG),
        "committed": ("committed + 1", A_LEG),
        "voided": ("voided + 1", A_LEG),
        "commits": ("commits + 1", A_LEG),
        "leg_of": ("NULL", A_LEG),
        "bulk": ("NULL", "bulk IS NOT NULL"),
        "inflight_expiry_date": ("NULL", A_LEG),
        "inflight_commit_date": ("NULL", A_LEG),
    },
    "schedules": {
        "transaction_id": ("gen_random_uuid()", "true"),
        "reference": ("'other'", "true"),
        "scheduled_for": ("scheduled_for + interval '1 second'", "true"),
        "position": ("position + 1", "true"),
        "flags": ("'b'", "true"),
        "fingerprint": ("sha256('x')", "true"),
        "body": ("'x'", "true"),
    },
    "identities": {
        "identity_id": ("gen_random_uuid()", "true"),
        **dict.fromkeys(IDENTITY_FIELDS, ("'other'", "true")),
        "meta_data": ("""'{"x":1}'""", "true"),
        "fingerprint": ("sha256('x')", "true"),
        "position": ("position + 1", "true"),
    },
    "transaction_metadata": {
        "transaction_id": ("gen_random_uuid()", "true"),
        "meta_data": ("""'{"x":1}'""", "true"),
    },
    "snapshots": {
        "moment": ("moment + interval '1 second'", "true"),
        "position": ("position - 1", "true"),
        "balances": ("balances + 1", "true"),
    },
    "balance_snapshots": {
        "balance_id": ("gen_random_uuid()", A_SNAPSHOT),
        "moment": ("moment + interval '1 second'", A_SNAPSHOT),
        "position": ("position - 1", A_SNAPSHOT),
        "credit_balance": ("credit_balance + 1", A_SNAPSHOT),
        "debit_balance": ("debit_balance + 1", A_SNAPSHOT),
    },
    "deferred_entries": {
        "partition": ("0", "true"),
        "position": ("position + (1::bigint << 40)", "true"),
        "slot": ("slot + 1", "true"),
    },
    "rejected_requests": {
        "partition": ("9", WITH_RECORD),
        "position": ("position - 1", WITH_RECORD),
        "request_id": (f"'txn_' || {ODD}", WITH_RECORD),
        "reference": ("'other'", UNDECIDED),
        "uses_reference": ("false", UNDECIDED),
        "reason": ("'malformed'", WITH_RECORD),
        "detail": ("'other'", WITH_RECORD),
        "body": ("'x'", WITH_RECORD),
        "traceback": ("'x'", WITH_RECORD),
        "resolved": ("'retried'", UNDECIDED),
        "resolved_by": ("'x'", UNDECIDED),
        "resolved_why": ("'x'", UNDECIDED),
        "resolved_at": ("now()", UNDECIDED),
    },
}
"""Of each column: a new value, and the rows that get it."""

FREE = {
    "ledgers": ("ALTER TABLE balances DROP CONSTRAINT balances_ledger_id_fkey",),
    "identities": ("ALTER TABLE balances DROP CONSTRAINT balances_identity_id_fkey",),
}
"""What a superuser takes away first, where PostgreSQL itself would refuse the edit."""

CASES = [
    pytest.param(
        table,
        column,
        value,
        where,
        id=f"{table}.{column}",
        marks=[pytest.mark.campaign] if number % EVERY else [],
    )
    for table, columns in EDITS.items()
    for number, (column, (value, where)) in enumerate(columns.items())
]


@pytest.mark.parametrize(("table", "column", "value", "where"), CASES)
def test_an_edit_of_a_column_is_found(
    full: Installation, table: str, column: str, value: str, where: str
) -> None:
    """Whatever column of whatever table a superuser edits, the proof finds it."""
    free = FREE.get(table, ())
    with_free = [statement for statement in free if statement]
    report = tamper(full, *with_free, f"UPDATE {table} SET {column} = {value} WHERE {where}")
    assert report.violations


@pytest.mark.parametrize(
    ("statement", "code", "words"),
    [
        (
            "INSERT INTO balances (balance_id, ledger_id, currency) "
            "VALUES (gen_random_uuid(), 'general_ledger_id', 'USD')",
            "balance_mismatch",
            "no record of its creation",
        ),
        (
            "INSERT INTO ledgers (ledger_id, name) VALUES ('ldg_x', 'x')",
            "ledger_mismatch",
            "no record of its creation",
        ),
        (
            f"DELETE FROM rejected_requests WHERE {WITH_RECORD}",
            "rejection_mismatch",
            "bytes are missing",
        ),
        ("DELETE FROM partitions WHERE sequence = 0 OR true", "marks_mismatch", "does not exist"),
        ("DELETE FROM epochs", "marks_mismatch", "not recorded"),
        ("DELETE FROM installation", "marks_mismatch", "has no row"),
        (
            "UPDATE epochs SET fence = fence + (1::bigint << 40) WHERE epoch = 2",
            "marks_mismatch",
            "its epoch begins behind",
        ),
        (
            "UPDATE transactions SET partition = 1 - partition, sequence = -1 WHERE partition < 2 "
            "AND reference = (SELECT min(reference) FROM transactions WHERE partition < 2 "
            "AND reference LIKE 'in-%%')",
            "wrong_partition",
            "its slot",
        ),
        (
            "INSERT INTO rejected_requests (partition, position, request_id, uses_reference, "
            "reason, body) SELECT partition, position, request_id, false, 'malformed', body "
            "FROM deferred_entries",
            "deferred_mismatch",
            "waits, and was refused",
        ),
    ],
)
def test_what_steers_the_workers_has_to_fit(
    full: Installation, statement: str, code: str, words: str
) -> None:
    """Rows that are gone, invented, or somewhere else are found as what they are."""
    report = tamper(full, statement)
    messages = [v.message for v in report.violations if v.code == code]
    assert any(words in message for message in messages), report.violations


# --- the page -------------------------------------------------------------------------------------


def listed(title: str) -> list[tuple[str, str]]:
    """The first two cells of the rows of a section of the page."""
    part = PAGE.read_text(encoding="utf-8").split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\| (`[^|]+?) \| ([^|]+?) \|$", part, re.M)


def test_the_page_names_every_column_once() -> None:
    """Each column that isn't computed is compared, or can't be seen, and then the page says why."""
    covered = {
        f"{table.strip('`')}.{column}"
        for table, columns in listed("What verify covers")
        for column in re.findall(r"`(\w+)`", columns)
    }
    unseen = {
        name: because
        for names, because in listed("What verify can't see")
        for name in re.findall(r"`(\w+\.\w+)`", names)
    }
    columns = {
        f"{table.name}.{column.name}"
        for table in LEDGER_TABLES
        for column in table.columns
        if column.computed is None
    }
    assert covered | unseen.keys() == columns
    assert covered & unseen.keys() == set()
    assert all(len(because) > 20 for because in unseen.values())
    edited = {f"{table}.{column}" for table, found in EDITS.items() for column in found}
    journal = {name for name in covered if name.startswith("transactions.")}  # test_verify.py
    assert edited == covered - journal
