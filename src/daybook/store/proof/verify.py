"""The proof: everything that the ledger claims, recomputed from its journal.

All checks look at one snapshot, so that they may run beside live traffic. What they find comes
back as values. The chain shows any edit, deletion, insertion or swap of a record, its end in
``partitions`` a truncated journal; the sums show edits of what is derived from it. Who can
rewrite every table can also rewrite the chain from some record on: anyone who keeps the heads of a
report elsewhere can show that, too. What nothing here covers stands in docs/how-to/rebuild.md.
"""

# ruff: noqa: S608 - every part of these statements stands in this program

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, text

from daybook.counting import counted
from daybook.ledger.balance import internal_balance_id
from daybook.ledger.chain import GENESIS, link
from daybook.ledger.record import Record
from daybook.requests import reference_in
from daybook.store.proof.comparing import SumCheck
from daybook.store.proof.sums import SUM_CHECKS
from daybook.store.scan import RECORD_ID_SQL, one_instant, request_id_sql, stream

VIOLATIONS_SHOWN_MAX = 100
"""Violations that a report keeps of each kind; all are counted."""

PROGRESS_EVERY_RECORDS = 5_000

Progress = Callable[[str, int, int], None]
"""Called with the name of the check, how far it is, and its end (records, or 1)."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One claim that does not hold.

    code: stable name of the kind. where: the record, balance, hold, currency or reference.
    """

    code: str
    where: str
    message: str


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a partition's journal: number and hash (hex) of its last record."""

    partition: int
    sequence: int
    hash: str


@dataclass(slots=True)
class VerifyReport:
    """What ``verify`` found.

    records, balances, holds: how many were checked. violations: the first of each kind.
    violations_by_code: how many there are.
    """

    records: int = 0
    balances: int = 0
    holds: int = 0
    heads: list[Head] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    violations_by_code: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every claim holds."""
        return not self.violations_by_code

    @property
    def violations_total(self) -> int:
        """How many violations there are, shown or not."""
        return sum(self.violations_by_code.values())

    def add(self, code: str, where: str, message: str, count: int = 1) -> None:
        """Count ``count`` violations, and show one while there is room."""
        found = self.violations_by_code.get(code, 0)
        self.violations_by_code[code] = found + count
        if found < VIOLATIONS_SHOWN_MAX:
            self.violations.append(Violation(code, where, message))


def verify(engine: Engine, progress: Progress | None = None) -> VerifyReport:
    """Check chain, numbering, balances, holds, currencies and references in one snapshot.

    It takes as long as reading the journal three times, and memory does not grow with it.
    Raises StoreUnavailable, SchemaOutdated.
    """
    with one_instant(engine) as connection:
        return check_all(connection, progress)


def check_all(connection: Connection, progress: Progress | None = None) -> VerifyReport:
    """All checks, on what this connection sees. Raises what the driver raises."""
    report, tell = VerifyReport(), progress or (lambda check, done, end: None)
    check_chains(connection, report, tell)
    check_sums(connection, report, tell)
    report.balances = _count(connection, "balances")
    report.holds = _count(connection, "holds")
    return report


def _count(connection: Connection, table: str) -> int:
    return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


# The chain

_RECORDS = f"""
SELECT partition, sequence, hash, {RECORD_ID_SQL}, kind, reference, derived,
    {request_id_sql("parent_transaction")},
    'bln_' || source, 'bln_' || destination, currency, precision::text, precise_amount::text,
    status, reason, detail, description, allow_overdraft, overdraft_limit::text, position,
    trunc(extract(epoch FROM effective_date) * 1000000)::text, meta_data::text, fingerprint,
    parts, part, trunc(extract(epoch FROM inflight_expiry_date) * 1000000)::text,
    trunc(extract(epoch FROM inflight_commit_date) * 1000000)::text,
    trunc(extract(epoch FROM scheduled_for) * 1000000)::text, subject, change::text
FROM transactions ORDER BY partition, sequence
"""
"""Place and hash, then the fields of a ``Record`` in its order, as they were hashed.

Numbers that could be edited into what is no number, such as infinity, stay text, which the chain
writes the same: so that is a break of the chain too, and not a fault.
"""


def check_chains(connection: Connection, report: VerifyReport, tell: Progress) -> None:
    """Follow every partition's chain from its genesis to its head, one record at a time."""
    claimed = {
        partition: (sequence, bytes(head))
        for partition, sequence, head in connection.execute(
            text("SELECT partition, sequence, head FROM partitions ORDER BY partition")
        )
    }
    end = sum(sequence for sequence, _ in claimed.values())
    walk = _Walk(report)
    tell("chain", 0, end)
    for row in _stream_records(connection):
        walk.step(row)
        if report.records % PROGRESS_EVERY_RECORDS == 0:
            tell("chain", report.records, max(end, report.records))
    walk.leave()
    tell("chain", report.records, report.records)
    _check_heads(walk.ends, claimed, report)


def _stream_records(connection: Connection) -> Iterator[tuple[Any, ...]]:
    """The journal in the order of the chains, without holding it in memory.

    Sorting is ruled out: the primary key has the order, and a sort would fill the disk first.
    """
    connection.execute(text("SET LOCAL enable_sort = off"))
    yield from stream(connection, _RECORDS)
    connection.execute(text("SET LOCAL enable_sort = on"))


class _Walk:
    """The walk along the chains: where it is, and where each partition's journal ended."""

    def __init__(self, report: VerifyReport) -> None:
        self.report = report
        self.ends: dict[int, tuple[int, bytes]] = {}
        self._partition = -1
        self._sequence = 0
        self._hash = GENESIS

    def step(self, row: tuple[Any, ...]) -> None:
        """Check that the row is the next of its partition and that its hash fits the last one.

        After a violation the walk goes on from the stored hash: each break is shown once.
        """
        partition, sequence, stored_hash = row[:3]
        if partition != self._partition:
            self.leave()
            self._partition, self._sequence, self._hash = partition, 0, GENESIS
        self.report.records += 1
        where = f"partition {partition}, sequence {sequence}"
        if sequence != self._sequence + 1:
            self.report.add(
                "sequence_gap", where, f"follows {self._sequence}: records between are missing"
            )
        elif link(self._hash, partition, sequence, Record._make(row[3:])) != stored_hash:
            self.report.add(
                "chain_broken",
                where,
                f"{row[3]} is not what was recorded, or not where: its hash does not fit",
            )
        self._sequence, self._hash = sequence, stored_hash

    def leave(self) -> None:
        """Note where the partition that was walked has ended."""
        if self._partition >= 0:
            self.ends[self._partition] = (self._sequence, self._hash)


def _check_heads(
    ends: dict[int, tuple[int, bytes]],
    claimed: dict[int, tuple[int, bytes]],
    report: VerifyReport,
) -> None:
    """Each journal must end where its partition says: a truncated one does not."""
    for partition in sorted(ends.keys() | claimed.keys()):
        sequence, head = ends.get(partition, (0, GENESIS))
        report.heads.append(Head(partition, sequence, head.hex()))
        where = f"partition {partition}"
        if partition not in claimed:
            records = counted(sequence, "record")
            report.add("unknown_partition", where, f"has {records} but does not exist")
            continue
        claimed_sequence, claimed_head = claimed[partition]
        if sequence != claimed_sequence:
            report.add(
                "head_mismatch",
                where,
                f"its journal ends at sequence {sequence}, it should be {claimed_sequence}",
            )
        elif head != claimed_head:
            report.add("head_mismatch", where, f"its record {sequence} has not the recorded hash")


# The sums


def check_sums(connection: Connection, report: VerifyReport, tell: Progress) -> None:
    """Compare everything that is kept beside the journal with it."""
    for check in SUM_CHECKS:
        tell(check.title, 0, 1)
        _check_sum(connection, check, report)
        tell(check.title, 1, 1)
    _check_internal_ids(connection, report)
    _check_refused_references(connection, report)


def _check_sum(connection: Connection, check: SumCheck, report: VerifyReport) -> None:
    rows = connection.execute(text(check.query), {"shown": VIOLATIONS_SHOWN_MAX}).mappings().all()
    for row in rows:
        report.add(check.code, row["place"], check.explain(row))
    if rows:
        report.violations_by_code[check.code] += rows[0]["found"] - len(rows)


# The names of internal balances

_INTERNAL_BALANCES = """
SELECT 'bln_' || balance_id, indicator, currency FROM balances
WHERE indicator IS NOT NULL OR substr(balance_id::text, 15, 1) = '8'
"""
"""Balances with an indicator, and those whose id has the form of one (a UUID of version 8)."""


def _check_internal_ids(connection: Connection, report: VerifyReport) -> None:
    """The journal knows ids alone: an indicator must belong to the balance that bears it."""
    for balance_id, indicator, currency in stream(connection, _INTERNAL_BALANCES):
        if indicator is None:
            report.add(
                "balance_mismatch", balance_id, "has the id of an internal balance, no indicator"
            )
        elif (derived := internal_balance_id(indicator, currency)) != balance_id:
            report.add(
                "balance_mismatch",
                balance_id,
                f"indicator is {indicator} in {currency}, whose balance has the id {derived}",
            )


# The references of what was refused

_REFUSED = "SELECT partition, position, reference, body FROM rejected_requests"


def _check_refused_references(connection: Connection, report: VerifyReport) -> None:
    """A rejection without a record stands alone for its reference: it must be that of its bytes."""
    for partition, position, reference, body in stream(connection, _REFUSED):
        if (asked := reference_in(bytes(body))) != reference:
            report.add(
                "rejection_mismatch",
                f"partition {partition}, position {position}",
                f"reference is {reference or 'not set'}, its request has {asked or 'none'}",
            )
