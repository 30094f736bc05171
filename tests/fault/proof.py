"""The proof after a fault: the independent judge over log and ledger, then ``verify``."""

from __future__ import annotations

import json
from typing import Any

from daybook.ledger.identity import IDENTITY_FIELDS
from daybook.ledger.rejection import Rejected
from daybook.queue.entries import BARRIER, entry_id_of, position_of
from daybook.store.proof.verify import verify
from daybook.store.scan import RECORD_ID_SQL, request_id_sql
from tests.engine.entries import accepted_row, read_entry
from tests.harness import Installation
from tests.oracle.judge import audit

_MICROS = "trunc(extract(epoch FROM {0}) * 1000000)::bigint"
_RECORDS = f"""
SELECT partition, sequence, {RECORD_ID_SQL},
    kind, reference, derived, {request_id_sql("parent_transaction")}, 'bln_' || source,
    'bln_' || destination, currency, precision, precise_amount, status, reason, detail,
    description, allow_overdraft, overdraft_limit::text, position, meta_data::text, fingerprint,
    parts, part, {_MICROS.format("inflight_expiry_date")},
    {_MICROS.format("inflight_commit_date")}, {_MICROS.format("scheduled_for")}, subject,
    change::text
FROM transactions
"""
_RECORD_FIELDS = """
partition sequence transaction_id kind reference derived parent_id source_id destination_id
currency precision precise_amount status reason detail description allow_overdraft overdraft_limit
position meta_data fingerprint parts part expires_micros commits_micros scheduled_micros
subject_id change
""".split()  # noqa: SIM905
_BALANCES = """
SELECT 'bln_' || balance_id, currency, precision, credit_balance, debit_balance,
    inflight_credit_balance, inflight_debit_balance, version FROM balances
"""
_FIGURES = ["credit", "debit", "inflight_credit", "inflight_debit", "version"]
_BALANCE_FIELDS = ["currency", "precision", *_FIGURES]
_HOLDS = "SELECT 'txn_' || transaction_id, amount, committed, voided FROM holds"
_DONE = """
SELECT ledger_id FROM ledgers UNION SELECT 'bln_' || balance_id FROM balances
UNION SELECT 'idt_' || identity_id FROM identities UNION SELECT request_id FROM rejected_requests
"""
_BESIDE = """
SELECT reference, 'txn_' || transaction_id FROM schedules
UNION SELECT reference, request_id FROM rejected_requests WHERE uses_reference
"""
_SCHEDULES = "SELECT 'txn_' || transaction_id FROM schedules"
_THINGS = f"""
SELECT ledger_id, json_build_object('name', name)::text, meta_data::text FROM ledgers
UNION ALL SELECT 'bln_' || balance_id,
    json_build_object('identity_id', 'idt_' || identity_id)::text, meta_data::text FROM balances
UNION ALL SELECT 'idt_' || identity_id, to_json(identities)::text, meta_data::text FROM identities
UNION ALL SELECT {request_id_sql("transaction_id")}, '{{}}', meta_data::text
    FROM transaction_metadata
"""


def accepted(installation: Installation) -> list[dict[str, Any]]:
    """Every request that stands in the log, applied or not; broken entries are left out."""
    rows = []
    for (partition,) in installation.rows("SELECT partition FROM partitions"):
        stream = installation.log.keys.log(partition)
        for entry_id, fields in installation.stream(stream):
            if fields.get(b"c") == BARRIER.encode():
                continue  # its request stands in another partition
            body, request_id = fields.get(b"b", b""), fields.get(b"i", b"").decode(errors="replace")
            position = position_of(entry_id)
            assert entry_id_of(position).encode() == entry_id
            entry = read_entry(body, request_id, position)
            if not isinstance(entry, Rejected):
                rows.append(accepted_row(entry))
    return rows


def _fields_said(text: str) -> dict[str, Any]:
    """The fields of a thing that were ever set."""
    known = {"name", "identity_id", *IDENTITY_FIELDS}
    fields = {name: value for name, value in json.loads(text).items() if name in known}
    if "first_name" in fields:
        del fields["identity_id"]
    return {name: value for name, value in fields.items() if value is not None}


def assert_proved(installation: Installation, *, drained: bool = True) -> list[dict[str, Any]]:
    """The judge and ``verify`` find nothing; returns what was accepted."""
    records = [dict(zip(_RECORD_FIELDS, row, strict=True)) for row in installation.rows(_RECORDS)]
    for record in records:
        record["fingerprint"] = bytes(record["fingerprint"])
        for name in ("precision", "precise_amount"):
            record[name] = None if record[name] is None else int(record[name])
    balances = {
        row[0]: dict(zip(_BALANCE_FIELDS, row[1:], strict=True))
        for row in installation.rows(_BALANCES)
    }
    for balance in balances.values():
        balance.update({name: int(balance[name]) for name in _FIGURES})  # exact at any length
    holds = {
        row[0]: dict(zip(("amount", "committed", "voided"), map(int, row[1:]), strict=True))
        for row in installation.rows(_HOLDS)
    }
    things = {
        own: {"fields": _fields_said(fields), "meta_data": json.loads(meta_data or "{}")}
        for own, fields, meta_data in installation.rows(_THINGS)
    }
    log = accepted(installation)
    done = [row[0] for row in installation.rows(_DONE)]
    violations = audit(
        records,
        balances,
        holds,
        log,
        done=done,
        drained=drained,
        schedules={row[0] for row in installation.rows(_SCHEDULES)},
        beside=installation.rows(_BESIDE),
        things=things,
        epochs=installation.rows("SELECT fence, partitions FROM epochs ORDER BY epoch"),
    )
    assert violations == [], f"{len(violations)} violations, the first: {violations[:5]}"
    report = verify(installation.owner)
    assert report.violations == [], report.violations[:5]
    return log
