"""The proof covers every kind of request, and what creations and changes have said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness import Cluster, Installation
from tests.integration.whole import Whole, bare, fill_whole, tamper

from daybook.store.proof import verify as verifying
from daybook.store.proof.comparing import Comparison
from daybook.store.proof.sums import COMPARISONS, SUM_CHECKS
from daybook.store.proof.verify import verify


@pytest.fixture(scope="module")
def shared(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation that no test changes permanently."""
    installation = Installation(cluster, 2, tmp_path_factory.mktemp("shared"))
    yield installation
    installation.close()


@pytest.fixture(scope="module")
def whole(shared: Installation) -> Whole:
    """A ledger with some of everything."""
    return fill_whole(shared)


def test_every_kind_in_every_state_is_right(shared: Installation, whole: Whole) -> None:
    """What the engine records of every kind of request verifies."""
    report = verify(shared.engine)

    assert report.violations == []
    kinds = {kind for (kind,) in shared.rows("SELECT DISTINCT kind FROM transactions")}
    assert len(kinds) == 11
    (found,) = shared.rows(
        "SELECT (SELECT count(*) FROM schedules), (SELECT count(*) FROM transaction_metadata),"
        " (SELECT count(*) FROM holds WHERE leg_of IS NOT NULL AND bulk IS NOT NULL),"
        " (SELECT count(DISTINCT moment) FROM balance_snapshots)"
    )
    assert found == (2, 2, 1, 2)
    assert whole.ids["bulk"].startswith("bulk_")


NAMED = "WHERE transaction_id = '{%s}'"
OF_BULK = "parent_transaction = '{bulk}'"
ONE_LEG = "WHERE parent_transaction = '{legs}' AND kind = 'transaction' AND part = 2"
REFUND = "WHERE reference = 'refund-of-part'"


@pytest.mark.parametrize(
    ("statement", "code", "words"),
    [
        (f"DELETE FROM transactions {ONE_LEG}", "parts_mismatch", "has 3 parts, 2 are recorded"),
        (f"UPDATE transactions SET part = 4 {ONE_LEG}", "parts_mismatch", "not that of part 4"),
        (f"UPDATE transactions SET part = 3 {ONE_LEG}", "parts_mismatch", "numbered 1 to 3"),
        (
            f"UPDATE transactions SET precise_amount = 21 {ONE_LEG}",
            "parts_mismatch",
            "add up to 101, not to 100",
        ),
        (f"UPDATE transactions SET currency = 'EUR' {ONE_LEG}", "parts_mismatch", "all legs share"),
        (f"UPDATE transactions SET status = 'VOID' {ONE_LEG}", "parts_mismatch", "is VOID, txn_"),
        (
            f"UPDATE transactions SET position = position - 1 {ONE_LEG}",
            "parts_mismatch",
            "was not accepted with",
        ),
        (
            f"DELETE FROM transactions {NAMED % 'legs'}",
            "parts_mismatch",
            "the request that it is a part of is missing",
        ),
        (
            f"DELETE FROM transactions WHERE {OF_BULK} AND part = 1",
            "parts_mismatch",
            "posted 3 of its 4 items, 2 are recorded",
        ),
        (
            f"UPDATE transactions SET status = 'APPLIED' WHERE {OF_BULK} AND part = 2",
            "parts_mismatch",
            "posted 3 of its 4 items, 4 are recorded",
        ),
        (
            "UPDATE transactions SET status = 'APPLIED' WHERE reference = 'xitem-1'",
            "parts_mismatch",
            "its bulk was refused",
        ),
        (
            "UPDATE transactions SET status = 'APPLIED' WHERE reference = 'h1'",
            "parts_mismatch",
            "its bulk holds money only",
        ),
        (
            "DELETE FROM transactions WHERE kind = 'commit' AND part = 1",
            "parts_mismatch",
            "has 2 parts, 1 are recorded",
        ),
        (
            "DELETE FROM transactions WHERE kind = 'refund' AND parts IS NOT NULL",
            "parts_mismatch",
            "the request that it is a part of is missing",
        ),
        (
            f"UPDATE transactions SET precise_amount = precise_amount + 1 {REFUND}",
            "refund_mismatch",
            "is not the reverse",
        ),
        (
            f"UPDATE transactions SET source = destination, destination = source {REFUND}",
            "refund_mismatch",
            "is not the reverse",
        ),
        (
            f"UPDATE transactions SET parent_transaction = '{{hold}}' {REFUND}",
            "refund_mismatch",
            "a transaction that is INFLIGHT, can not be refunded",
        ),
        (
            f"UPDATE transactions SET parent_transaction = gen_random_uuid() {REFUND}",
            "refund_mismatch",
            "what it refunds is not recorded",
        ),
        (
            f"UPDATE transactions SET parent_transaction = '{{deposit-3}}' {REFUND}",
            "refund_mismatch",
            "is one of 2 refunds",
        ),
    ],
)
def test_a_changed_group_or_refund_is_found(
    shared: Installation, whole: Whole, statement: str, code: str, words: str
) -> None:
    """Parts are complete, numbered, and fit their request; refunds reverse what can be reversed."""
    report = tamper(shared, statement.format(**bare(whole)))

    messages = [v.message for v in report.violations if v.code == code]
    assert any(words in message for message in messages), messages


OWNED = "WHERE balance_id = '{balance_0}'"
SNAPSHOT = "WHERE balance_id = '{balance_0}' AND moment = (SELECT min(moment) FROM snapshots)"


@pytest.mark.parametrize(
    ("statement", "code", "words"),
    [
        (
            "UPDATE ledgers SET name = 'Others' WHERE ledger_id = '{ledger}'",
            "ledger_mismatch",
            "name",
        ),
        ("UPDATE ledgers SET name = 'x' WHERE fingerprint IS NULL", "ledger_mismatch", "General"),
        (
            """UPDATE ledgers SET meta_data = '{{"a":"other","b":2.0}}' WHERE name = 'Clients'""",
            "ledger_mismatch",
            "meta_data",
        ),
        (
            "UPDATE ledgers SET meta_data = NULL WHERE fingerprint IS NULL",
            "ledger_mismatch",
            "meta_data is not set",
        ),
        ("UPDATE ledgers SET position = 7 WHERE name = 'Clients'", "ledger_mismatch", "position"),
        (
            "UPDATE ledgers SET fingerprint = sha256('x') WHERE name = 'Clients'",
            "ledger_mismatch",
            "fingerprint",
        ),
        (
            "DELETE FROM ledgers WHERE name = 'Clients'",
            "ledger_mismatch",
            "the journal tells of it, but it does not exist",
        ),
        ("UPDATE identities SET city = 'Wien'", "identity_mismatch", "city is Wien"),
        ("UPDATE identities SET meta_data = NULL", "identity_mismatch", "meta_data"),
        (
            "INSERT INTO identities (identity_id, fingerprint, position) "
            "VALUES (gen_random_uuid(), '', 1)",
            "identity_mismatch",
            "no record of its creation",
        ),
        (
            f"UPDATE balances SET ledger_id = '{{ledger}}' {OWNED}",
            "balance_mismatch",
            "ledger_id is ldg_",
        ),
        (f"UPDATE balances SET identity_id = NULL {OWNED}", "balance_mismatch", "identity_id"),
        (
            "UPDATE balances SET identity_id = '{owner}' WHERE balance_id = '{balance_2}'",
            "balance_mismatch",
            "identity_id",
        ),
        (
            f"""UPDATE balances SET meta_data = '{{{{"a":2}}}}' {OWNED}""",
            "balance_mismatch",
            "meta_data",
        ),
        (
            "UPDATE balances SET ledger_id = '{ledger}' WHERE indicator = '@World'",
            "balance_mismatch",
            "ledger_id",
        ),
        (
            "UPDATE balances SET meta_data = NULL WHERE indicator = '@World'",
            "balance_mismatch",
            "meta_data",
        ),
        (
            """UPDATE transaction_metadata SET meta_data = '{{}}'""",
            "metadata_mismatch",
            "meta_data",
        ),
        (
            "DELETE FROM transaction_metadata WHERE transaction_id = '{bulk}'",
            "metadata_mismatch",
            "is missing",
        ),
        (
            "INSERT INTO transaction_metadata VALUES (gen_random_uuid(), '{{}}')",
            "metadata_mismatch",
            "no record of such a change",
        ),
        ("DELETE FROM schedules", "schedule_mismatch", "its request is missing"),
        ("UPDATE schedules SET body = 'x'", "schedule_mismatch", "body_fingerprint"),
        ("UPDATE schedules SET reference = reference || 'x'", "schedule_mismatch", "reference"),
        (
            "UPDATE schedules SET scheduled_for = 'infinity'",
            "schedule_mismatch",
            "scheduled_for is infinity",
        ),
        (
            "INSERT INTO schedules (transaction_id, reference, scheduled_for, position, flags, "
            "fingerprint, body) SELECT '{never}', 'never', scheduled_for, position + 1, flags, "
            "fingerprint, body FROM schedules LIMIT 1",
            "schedule_mismatch",
            "no such schedule that is open",
        ),
        (
            "INSERT INTO rejected_requests (partition, position, request_id, reference, "
            "uses_reference, reason, body) VALUES (0, 1, 'x', 'later', true, 'malformed', '')",
            "reference_twice",
            "is used 2 times",
        ),
        (
            "DELETE FROM taken_references WHERE reference = 'later'",
            "reference_mismatch",
            "is used, but it is not taken",
        ),
        (
            "UPDATE holds SET leg_of = gen_random_uuid() WHERE transaction_id = '{hold}'",
            "hold_mismatch",
            "leg_of",
        ),
        ("UPDATE holds SET bulk = NULL WHERE bulk IS NOT NULL", "hold_mismatch", "bulk"),
        (
            "UPDATE holds SET inflight_expiry_date = 'infinity' WHERE transaction_id = '{waiting}'",
            "hold_mismatch",
            "inflight_expiry_date is infinity",
        ),
        (
            "UPDATE holds SET inflight_commit_date = NULL WHERE transaction_id = '{waiting}'",
            "hold_mismatch",
            "inflight_commit_date is not set",
        ),
        (
            f"UPDATE balance_snapshots SET credit_balance = credit_balance + 1 {SNAPSHOT}",
            "snapshot_mismatch",
            "credit_balance",
        ),
        (
            f"UPDATE balance_snapshots SET debit_balance = 0 {SNAPSHOT}",
            "snapshot_mismatch",
            "debit_balance",
        ),
        (f"UPDATE balance_snapshots SET position = 1 {SNAPSHOT}", "snapshot_mismatch", "position"),
        (f"DELETE FROM balance_snapshots {SNAPSHOT}", "snapshot_mismatch", "lacks its figures"),
        ("DELETE FROM snapshots", "snapshot_mismatch", "no such snapshot was taken"),
        ("UPDATE snapshots SET balances = 1", "snapshot_mismatch", "balances is 1"),
    ],
)
def test_what_is_kept_beside_the_journal_is_compared(
    shared: Installation, whole: Whole, statement: str, code: str, words: str
) -> None:
    """Names, owners, fields, metadata, schedules, dates and snapshots are those of the journal."""
    report = tamper(shared, statement.format(**bare(whole)))

    messages = [v.message for v in report.violations if v.code == code]
    assert any(words in message for message in messages), report.violations


@pytest.mark.parametrize("comparison", COMPARISONS, ids=lambda each: each.title)
def test_a_comparison_names_columns_that_exist(
    shared: Installation, comparison: Comparison
) -> None:
    """What is compared, and mended, are columns of the table."""
    found = shared.rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0",
        comparison.table,
    )
    named = {column.name for column in comparison.columns if not column.is_claim}
    assert named | set(comparison.key) <= {name for (name,) in found}


def test_a_change_that_is_no_object_is_a_broken_chain_and_no_fault(
    shared: Installation, whole: Whole
) -> None:
    """Whatever stands in a change, the proof comes to its end."""
    del whole
    report = tamper(
        shared,
        "UPDATE transactions SET change = '5' WHERE kind = 'ledger'",
        "UPDATE transactions SET change = '[1]' WHERE kind = 'balance'",
        """UPDATE transactions SET change = '{"fields":7,"meta_data":[]}' WHERE kind = 'change'""",
        "UPDATE transactions SET subject = 'idt_x' WHERE kind = 'identity'",
    )
    assert {
        "chain_broken",
        "ledger_mismatch",
        "balance_mismatch",
    } <= report.violations_by_code.keys()


EARLIER = "(SELECT min(moment) - interval '10 milliseconds' FROM snapshots)"
FIGURES_THEN = (
    "SELECT balance_id, min(moment), min(at), sum(credit), sum(debit) FROM ("
    "SELECT destination AS balance_id, precise_amount AS credit, 0 AS debit, * FROM applied "
    "UNION ALL SELECT source, 0, precise_amount, * FROM applied) sides GROUP BY balance_id"
)
TAKE_EARLIER = (
    f"INSERT INTO snapshots SELECT {EARLIER}, max(position) + 1, 0 FROM transactions",
    "WITH applied AS (SELECT t.source, t.destination, t.precise_amount, s.moment, s.position AS at "
    "FROM transactions t, (SELECT * FROM snapshots ORDER BY moment LIMIT 1) s "
    "WHERE t.effective_date <= s.moment AND t.status = 'APPLIED' AND t.parts IS NULL "
    f"AND t.precise_amount IS NOT NULL) INSERT INTO balance_snapshots {FIGURES_THEN}",
    "UPDATE snapshots s SET balances = (SELECT count(*) FROM balance_snapshots b "
    "WHERE b.moment = s.moment)",
)


def test_a_snapshot_of_an_earlier_moment_is_summed_by_itself(
    shared: Installation, whole: Whole
) -> None:
    """Snapshots need not have been taken in the order of their moments."""
    del whole
    assert tamper(shared, *TAKE_EARLIER).violations == []

    wrong = f"UPDATE balance_snapshots SET credit_balance = 1 WHERE moment = {EARLIER}"
    wrong = wrong.replace("min(moment) - interval '10 milliseconds'", "min(moment)")
    report = tamper(shared, *TAKE_EARLIER, wrong)
    assert report.violations_by_code.keys() == {"snapshot_mismatch"}


def test_the_page_explains_every_code() -> None:
    """docs/how-to/rebuild.md has a row for each code of a violation, and no other."""
    page = (Path(__file__).parents[2] / "docs/how-to/rebuild.md").read_text(encoding="utf-8")
    page = page.split("## What verify finds\n", 1)[1].split("\n## ", 1)[0]
    listed = set(re.findall(r"^\| `(\w+_\w+)` \|", page, re.M))
    source = Path(verifying.__file__).read_text(encoding="utf-8")
    added = set(re.findall(r'report\.add\(\s*"(\w+)"', source))
    assert listed == added | {check.code for check in SUM_CHECKS}
