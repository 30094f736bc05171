"""The proof finds whatever was changed behind the ledger's back, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy.engine import make_url
from tests.harness import Cluster, Installation
from tests.integration.whole import tamper

from daybook.ledger.balance import internal_balance_id
from daybook.store.engine import make_engine
from daybook.store.proof.verify import VIOLATIONS_SHOWN_MAX, verify

DEPOSITS = 12


def fill(installation: Installation) -> list[str]:
    """Post some of everything; returns the ids of the application balances."""
    client = installation.client
    ledger = client.create_ledger("Customers").id
    balances = [client.create_balance(ledger, "USD").id for _ in range(4)]
    for number in range(DEPOSITS):
        client.enqueue(
            reference=f"deposit-{number}",
            source="@World",
            destination=balances[number % 4],
            currency="USD",
            precise_amount=10_000 + number,
            precision=100,
            allow_overdraft=True,
            description="tab\tand \\ backslash",
            meta_data={"rate": "1.10", "number": number},
            effective_date="1999-12-31T23:59:59.123457+01:00" if number % 2 else None,
        )
    holds = [
        client.enqueue(
            reference=f"hold-{number}",
            source=balances[number],
            destination="@Revenue",
            currency="USD",
            precise_amount=500,
            precision=100,
            inflight=True,
            overdraft_limit="10.50",
        ).id
        for number in range(3)
    ]
    client.commit(holds[0], precise_amount=200)
    client.commit(holds[0], precise_amount=100, reference="part-two")
    client.void(holds[1])
    client.enqueue(
        reference="too-much",
        source=balances[3],
        destination=balances[2],
        currency="USD",
        amount="1000000",
        precision=100,
    )
    client.enqueue(
        reference="to-nobody",
        source=balances[3],
        destination="bln_00000000-0000-4000-8000-000000000000",
        currency="USD",
        amount="1",
        precision=100,
    )
    installation.drain()
    return balances


@pytest.fixture(scope="module")
def shared(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation that no test changes permanently."""
    installation = Installation(cluster, 2, tmp_path_factory.mktemp("shared"))
    yield installation
    installation.close()


@pytest.fixture(scope="module")
def balances(shared: Installation) -> list[str]:
    """The application balances of the shared ledger, with some of everything posted."""
    return fill(shared)


def test_an_untouched_ledger_is_right(installation: Installation) -> None:
    """Every kind of record verifies, all are counted, and the heads are those of the journal."""
    fill(installation)

    report = verify(installation.engine)

    assert report.violations == []
    assert report.ok
    (records,) = installation.rows("SELECT count(*) FROM transactions")
    (statuses,) = installation.rows("SELECT count(DISTINCT status) FROM transactions")
    assert report.records == records[0] >= DEPOSITS + 8
    assert statuses[0] == 4
    assert (report.balances, report.holds) == (6, 3)
    last = installation.rows("SELECT partition, sequence, encode(head, 'hex') FROM partitions")
    assert sorted((h.partition, h.sequence, h.hash) for h in report.heads) == sorted(last)


def test_an_empty_ledger_is_right(installation: Installation) -> None:
    """A ledger without records verifies."""
    report = verify(installation.engine)
    assert report.ok
    assert report.records == 0


DEPOSIT = "reference = 'deposit-5'"
BUSIEST = "SELECT partition FROM partitions ORDER BY sequence DESC LIMIT 1"
MIDDLE = f"partition = ({BUSIEST}) AND sequence = 7"
LAST = f"partition = ({BUSIEST}) AND sequence = (SELECT max(sequence) FROM partitions)"
COPIED = (
    "transaction_id, kind, reference, derived, parent_transaction, source, destination, currency, "
    "precision, precise_amount, status, reason, detail, description, allow_overdraft, "
    "overdraft_limit, position, effective_date, meta_data, fingerprint, hash, parts, part, "
    "inflight_expiry_date, inflight_commit_date, scheduled_for, subject, change"
)
INSERTED = COPIED.replace("transaction_id,", "gen_random_uuid(),", 1).replace(
    " reference,", " 'smuggled',", 1
)


@pytest.mark.parametrize(
    "change",
    [
        "precise_amount = precise_amount + 1",
        "precision = 10",
        "currency = 'EUR'",
        "source = destination, destination = source",
        "destination = gen_random_uuid()",
        "status = 'REJECTED'",
        "kind = 'commit'",
        "reason = 'insufficient_funds'",
        "detail = 'other'",
        "description = 'other'",
        "reference = 'other'",
        "derived = true",
        "transaction_id = gen_random_uuid()",
        "parent_transaction = gen_random_uuid()",
        "allow_overdraft = false",
        "overdraft_limit = 5",
        "position = position + 1",
        "effective_date = effective_date + interval '1 microsecond'",
        "effective_date = 'infinity'",
        "precise_amount = 'NaN'",
        """meta_data = '{"number":5}'""",
        """meta_data = '{"number":5, "rate":"1.10"}'""",
        "fingerprint = sha256('other')",
        "hash = sha256('other')",
        "parts = 1",
        "part = 1",
        "inflight_expiry_date = 'infinity'",
        "inflight_commit_date = now()",
        "scheduled_for = now()",
        "subject = 'general_ledger_id'",
        "change = '[]'",
    ],
)
def test_an_edit_of_any_column_breaks_the_chain(
    shared: Installation, balances: list[str], change: str
) -> None:
    """Whatever column of a record is edited, the proof names that record."""
    ((partition, sequence),) = shared.rows(
        f"SELECT partition, sequence FROM transactions WHERE {DEPOSIT}"
    )

    report = tamper(shared, f"UPDATE transactions SET {change} WHERE {DEPOSIT}")

    broken = [v.where for v in report.violations if v.code == "chain_broken"]
    assert broken[0] == f"partition {partition}, sequence {sequence}"
    assert len(broken) == (2 if change.startswith("hash") else 1)


def test_every_column_of_the_journal_is_covered(shared: Installation, balances: list[str]) -> None:
    """The edits above are of all columns, so that a new one can't be forgotten."""
    found = shared.rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'transactions'::regclass "
        "AND attnum > 0 AND attgenerated = ''"
    )
    edited = {name.strip() for name in COPIED.split(",")}
    assert {name for (name,) in found} == edited | {"partition", "sequence"}


def deleted(where: str) -> str:
    return f"DELETE FROM transactions WHERE {where}"


@pytest.mark.parametrize(
    ("statements", "codes"),
    [
        pytest.param([deleted(MIDDLE)], {"sequence_gap"}, id="deleted"),
        pytest.param([deleted(LAST)], {"head_mismatch"}, id="truncated"),
        pytest.param([deleted("true")], {"head_mismatch"}, id="emptied"),
        pytest.param(
            [
                f"INSERT INTO transactions (partition, sequence, {COPIED}) SELECT partition, "
                f"sequence + 1, {INSERTED} FROM transactions WHERE {LAST}"
            ],
            {"head_mismatch", "chain_broken"},
            id="inserted at the end",
        ),
        pytest.param(
            [
                "UPDATE transactions SET sequence = -sequence - 1 "
                f"WHERE partition = ({BUSIEST}) AND sequence > 7",
                "UPDATE transactions SET sequence = -sequence WHERE sequence < 0",
                f"INSERT INTO transactions (partition, sequence, {COPIED}) SELECT partition, "
                f"sequence + 1, {INSERTED} FROM transactions WHERE {MIDDLE}",
                f"UPDATE partitions SET sequence = sequence + 1 WHERE partition = ({BUSIEST})",
            ],
            {"chain_broken", "balance_mismatch"},
            id="inserted in the middle",
        ),
        pytest.param(
            [
                f"UPDATE transactions SET sequence = -sequence WHERE {MIDDLE}",
                "UPDATE transactions t SET sequence = 7 FROM transactions o WHERE o.sequence = -7 "
                "AND t.partition = o.partition AND t.sequence = 8",
                "UPDATE transactions SET sequence = 8 WHERE sequence = -7",
            ],
            {"chain_broken"},
            id="swapped",
        ),
        pytest.param(
            [f"UPDATE transactions SET partition = 77 WHERE {LAST}"],
            {"unknown_partition", "sequence_gap", "head_mismatch"},
            id="moved to a partition that does not exist",
        ),
        pytest.param(
            ["UPDATE partitions SET head = sha256('other') WHERE sequence > 0"],
            {"head_mismatch"},
            id="head edited",
        ),
        pytest.param(
            [
                "UPDATE transactions SET reference = 'deposit-4' WHERE reference = 'deposit-5'",
            ],
            {"chain_broken", "reference_twice", "reference_mismatch"},
            id="reference twice",
        ),
        pytest.param(
            [
                "INSERT INTO rejected_requests (partition, position, request_id, reference, "
                "uses_reference, reason, body) "
                "VALUES (0, 1, 'x', 'deposit-4', true, 'malformed', '')",
            ],
            {"reference_twice"},
            id="reference used by a rejection too",
        ),
        pytest.param(
            [
                "ALTER TABLE taken_references DROP CONSTRAINT taken_references_pkey",
                "INSERT INTO taken_references SELECT * FROM taken_references "
                "WHERE reference = 'deposit-4'",
            ],
            {"reference_twice"},
            id="reference taken twice",
        ),
        pytest.param(
            ["DELETE FROM taken_references WHERE reference = 'deposit-4'"],
            {"reference_mismatch"},
            id="reference not taken",
        ),
        pytest.param(
            ["INSERT INTO taken_references VALUES ('nobody', gen_random_uuid())"],
            {"reference_mismatch"},
            id="reference taken by nobody",
        ),
        pytest.param(
            [
                "UPDATE taken_references SET owner = (SELECT owner FROM taken_references "
                "WHERE reference = 'deposit-5') WHERE reference = 'deposit-4'"
            ],
            {"reference_mismatch"},
            id="reference taken by another",
        ),
        pytest.param(
            [
                "DROP INDEX transactions_transaction_id_key",
                "UPDATE transactions SET transaction_id = (SELECT transaction_id FROM transactions "
                "WHERE reference = 'deposit-4') WHERE reference = 'deposit-5'",
            ],
            {"chain_broken", "id_twice"},
            id="id twice",
        ),
    ],
)
def test_changes_of_the_journal_are_found(
    shared: Installation, balances: list[str], statements: list[str], codes: set[str]
) -> None:
    """A record that is deleted, inserted, swapped, moved or cut off is found as what it is."""
    report = tamper(shared, *statements)
    assert codes <= report.violations_by_code.keys()
    assert report.violations_total >= len(codes)


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        ("credit_balance = credit_balance + 1", {"balance_mismatch", "currency_unbalanced"}),
        ("debit_balance = debit_balance + 1", {"balance_mismatch", "currency_unbalanced"}),
        (
            "inflight_credit_balance = inflight_credit_balance + 1",
            {"balance_mismatch", "currency_unbalanced"},
        ),
        (
            "inflight_debit_balance = inflight_debit_balance + 1",
            {"balance_mismatch", "currency_unbalanced", "inflight_unbalanced"},
        ),
        ("version = version + 1", {"balance_mismatch"}),
        ("precision = NULL", {"balance_mismatch"}),
        ("precision = 1000", {"balance_mismatch"}),
        ("currency = 'EUR'", {"balance_mismatch", "currency_unbalanced", "inflight_unbalanced"}),
        ("balance_id = gen_random_uuid()", {"balance_mismatch"}),
    ],
)
def test_an_edited_balance_is_found(
    shared: Installation, balances: list[str], change: str, codes: set[str]
) -> None:
    """Each figure of a balance is compared with the journal, and the balance is named."""
    balance_id = balances[2]

    report = tamper(shared, f"UPDATE balances SET {change} WHERE balance_id = '{balance_id[4:]}'")

    assert report.violations_by_code.keys() == codes
    assert balance_id in {violation.where for violation in report.violations}
    column = change.partition(" ")[0]
    named = "does not exist" if column == "balance_id" else column
    assert any(named in violation.message for violation in report.violations)


def test_money_moved_between_balances_is_found(shared: Installation, balances: list[str]) -> None:
    """Sums that still fit do not hide that two balances were changed."""
    first, second, *_ = balances

    report = tamper(
        shared,
        f"UPDATE balances SET credit_balance = credit_balance - 1 WHERE balance_id = '{first[4:]}'",
        "UPDATE balances SET credit_balance = credit_balance + 1 "
        f"WHERE balance_id = '{second[4:]}'",
    )

    assert report.violations_by_code == {"balance_mismatch": 2}


def test_a_deleted_balance_is_found(shared: Installation, balances: list[str]) -> None:
    """A balance whose money the journal moves has to exist."""
    world = internal_balance_id("@World", "USD")

    report = tamper(shared, f"DELETE FROM balances WHERE balance_id = '{world[4:]}'")

    (missing,) = [v for v in report.violations if v.code == "balance_mismatch"]
    assert missing.where == world
    assert "does not exist" in missing.message


@pytest.mark.parametrize(
    ("statement", "codes"),
    [
        ("UPDATE holds SET amount = amount + 1", {"hold_mismatch", "inflight_unbalanced"}),
        ("UPDATE holds SET committed = committed + 1", {"hold_mismatch", "inflight_unbalanced"}),
        ("UPDATE holds SET voided = voided + 1", {"hold_mismatch", "inflight_unbalanced"}),
        (
            "ALTER TABLE holds DROP CONSTRAINT holds_amounts;"
            "UPDATE holds SET committed = amount + 1",
            {"hold_mismatch", "inflight_unbalanced", "hold_overdrawn"},
        ),
        ("UPDATE holds SET commits = commits + 1", {"hold_mismatch"}),
        ("UPDATE holds SET source = destination", {"hold_mismatch"}),
        ("UPDATE holds SET destination = source", {"hold_mismatch"}),
        ("UPDATE holds SET currency = 'EUR'", {"hold_mismatch", "inflight_unbalanced"}),
        ("UPDATE holds SET precision = 1", {"hold_mismatch"}),
        ("DELETE FROM holds", {"hold_mismatch", "inflight_unbalanced"}),
    ],
)
def test_an_edited_hold_is_found(
    shared: Installation, balances: list[str], statement: str, codes: set[str]
) -> None:
    """Each figure of a hold is compared with the journal, and the hold is named."""
    ((hold,),) = shared.rows(
        "SELECT transaction_id::text FROM transactions WHERE reference = 'hold-0'"
    )

    report = tamper(shared, f"{statement} WHERE transaction_id = '{hold}'")

    assert report.violations_by_code.keys() == codes
    assert f"txn_{hold}" in {violation.where for violation in report.violations}


def test_an_invented_hold_is_found(shared: Installation, balances: list[str]) -> None:
    """A hold that the journal does not have is superfluous."""

    report = tamper(
        shared,
        "INSERT INTO holds (transaction_id, source, destination, currency, precision, amount, "
        "voided) SELECT gen_random_uuid(), source, destination, currency, precision, 5, 5 "
        "FROM holds LIMIT 1",
    )

    assert report.violations_by_code == {"hold_mismatch": 1}
    assert "the journal has no such hold" in report.violations[0].message


def test_violations_are_counted_beyond_those_shown(installation: Installation) -> None:
    """The report stays small when everything is wrong, and still says how much is."""
    client = installation.client
    ledger = client.create_ledger("Many").id
    many = VIOLATIONS_SHOWN_MAX + 20
    for number in range(many):
        balance_id = client.create_balance(ledger, "USD").id
        client.enqueue(
            reference=f"r{number}",
            source="@World",
            destination=balance_id,
            currency="USD",
            amount="1",
            precision=100,
            allow_overdraft=True,
        )
    installation.drain()

    report = tamper(
        installation,
        "UPDATE balances SET version = version + 1",
        "UPDATE transactions SET description = 'other' WHERE kind = 'transaction'",
    )

    assert report.violations_by_code == {"chain_broken": many, "balance_mismatch": many + 1}
    assert len(report.violations) == 2 * VIOLATIONS_SHOWN_MAX


def test_verify_sees_one_instant(installation: Installation) -> None:
    """What is applied while it runs does not look like a violation."""
    fill(installation)
    before = verify(installation.engine).records
    seen: list[str] = []

    def post_more(check: str, done: int, end: int) -> None:
        del done, end
        seen.append(check)
        installation.client.enqueue(
            reference=f"meanwhile-{len(seen)}",
            source="@World",
            destination="@Revenue",
            currency="USD",
            amount="1",
            precision=100,
            allow_overdraft=True,
        )
        installation.drain()

    report = verify(installation.engine, post_more)

    assert report.ok
    assert report.records in (before, before + 1)  # the snapshot begins with its first read
    assert len(set(seen)) > 5
    assert verify(installation.engine).records == before + len(seen)


@pytest.mark.parametrize(
    "setting", ["timezone = 'Asia/Kathmandu'", "datestyle = 'German'", "bytea_output = 'escape'"]
)
def test_settings_of_the_session_do_not_matter(installation: Installation, setting: str) -> None:
    """How the database writes dates and bytes changes nothing of the proof."""
    fill(installation)
    database = make_url(installation.owner_url).database
    installation.rows(f"ALTER DATABASE {database} SET {setting}")
    engine = make_engine(installation.worker_url)
    try:
        assert verify(engine).violations == []
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    "change",
    [
        "indicator = '@Treasury' WHERE indicator = '@World'",
        "indicator = NULL WHERE indicator = '@World'",
        "indicator = '@Mine' WHERE balance_id = '{first}'",
    ],
)
def test_an_indicator_belongs_to_the_id_that_follows_from_it(
    shared: Installation, balances: list[str], change: str
) -> None:
    """An internal balance that was renamed, or lost its name, or a customer's that got one."""
    first = balances[0]
    changed = first if "first" in change else internal_balance_id("@World", "USD")

    report = tamper(shared, f"UPDATE balances SET {change.format(first=first[4:])}")

    assert report.violations_by_code.keys() == {"balance_mismatch"}
    assert {violation.where for violation in report.violations} == {changed}
