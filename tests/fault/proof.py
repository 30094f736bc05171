"""The proof after a fault: the independent judge over log and ledger, then ``verify``."""

from __future__ import annotations

from typing import Any

from daybook.ledger.rejection import Rejected
from daybook.queue.entries import entry_id_of, position_of
from daybook.requests import decode, fingerprint_of
from daybook.store.verify import verify
from tests.harness import Installation
from tests.oracle.judge import audit

_RECORDS = """
SELECT partition, sequence, 'txn_' || transaction_id, kind, reference, derived,
    'txn_' || parent_transaction, 'bln_' || source, 'bln_' || destination, currency,
    precision, precise_amount, status, reason, allow_overdraft, overdraft_limit::text, position,
    fingerprint FROM transactions
"""
_RECORD_FIELDS = """
partition sequence transaction_id kind reference derived parent_id source_id destination_id
currency precision precise_amount status reason allow_overdraft overdraft_limit position fingerprint
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
UNION SELECT request_id FROM refusals
"""


def accepted(installation: Installation) -> list[dict[str, Any]]:
    """Every request that stands in the log, applied or not; broken entries are left out."""
    rows = []
    for partition in range(installation.partitions):
        stream = installation.log.keys.log(partition)
        for entry_id, fields in installation.redis.xrange(stream):
            body, request_id = fields.get(b"b", b""), fields.get(b"i", b"").decode(errors="replace")
            position = position_of(entry_id)
            assert entry_id_of(position).encode() == entry_id
            decoded = decode(body, request_id, position >> 20)
            if isinstance(decoded, Rejected):
                continue
            rows.append(
                {
                    "position": position,
                    "slot": decoded.slot,
                    "request_id": request_id,
                    "reference": getattr(decoded.instruction, "reference", None),
                    "fingerprint": fingerprint_of(body),
                    "kind": type(decoded.instruction).__name__,
                }
            )
    return rows


def assert_proved(installation: Installation, *, drained: bool = True) -> list[dict[str, Any]]:
    """The judge and ``verify`` find nothing; answers what was accepted."""
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
    log = accepted(installation)
    done = [row[0] for row in installation.rows(_DONE)]
    violations = audit(records, balances, holds, log, done=done, drained=drained)
    assert violations == [], f"{len(violations)} violations, the first: {violations[:5]}"
    report = verify(installation.owner)
    assert report.violations == []
    return log
