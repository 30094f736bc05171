"""Snapshots: the figures of balances at a moment, kept so that the past is near.

A snapshot counts each record that was accepted before its position and takes effect up to its
moment. It is taken only up to where everything accepted has been applied, so what it counts never
changes, and what is dated back behind it later is added when it is read (``store.read.history``).

One of an earlier moment can be taken for a history that was brought in later, or dated back. It is
as good as any for reading, and stands apart from the chain of those that follow each other.
"""

# ruff: noqa: S608 - every part of these statements stands in this program

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from sqlalchemy import Boolean, Connection, DateTime, Engine, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from daybook.ledger.entry import POSITION_COUNTER_BITS
from daybook.requests.bounds import EPOCH
from daybook.store.engine import translated_faults
from daybook.store.read.history import APPLIED
from daybook.store.read.rows import bad_value, first_position
from daybook.store.read.views import View
from daybook.store.schema import deferred_entries, partitions, snapshots

BALANCES_AT_ONCE = 5_000
"""Balances of one statement: it stays far below the statement time-out, and so does its memory."""

_LOCK_KEY = 0x0DA7_B00C
_BEFORE_ALL = UUID(int=0)

_LATER = "\nUNION ALL\n".join(
    f"SELECT {figures} FROM transactions WHERE {side} = changed.balance_id AND {APPLIED} AND {when}"
    for side, figures in (
        ("source", "0 AS credit, precise_amount AS debit"),
        ("destination", "precise_amount AS credit, 0 AS debit"),
    )
    for when in (
        "effective_date = created_at AND position >= :undated_from",
        "effective_date <> created_at AND position >= :position",
        "effective_date > :moment AND effective_date <> created_at AND position < :position",
    )
)
"""What the figures hold that the snapshot doesn't count: accepted later, or dated forward."""

_KEEP_TEXT = f"""
WITH slice AS MATERIALIZED (
    SELECT balance_id, credit_balance, debit_balance FROM balances
    WHERE balance_id > :after ORDER BY balance_id LIMIT :limit
), changed AS MATERIALIZED (
    SELECT slice.*, coalesce(last.credit_balance, 0) AS last_credit,
        coalesce(last.debit_balance, 0) AS last_debit
    FROM slice LEFT JOIN LATERAL (
        SELECT credit_balance, debit_balance FROM balance_snapshots kept
        WHERE kept.balance_id = slice.balance_id AND NOT :alone AND kept.moment <> ALL(:apart)
        ORDER BY moment DESC LIMIT 1
    ) last ON true
    WHERE (slice.credit_balance, slice.debit_balance)
        IS DISTINCT FROM (coalesce(last.credit_balance, 0), coalesce(last.debit_balance, 0))
), counted AS (
    SELECT balance_id, last_credit, last_debit,
        credit_balance - later.credit AS credit, debit_balance - later.debit AS debit
    FROM changed, LATERAL (
        SELECT coalesce(sum(credit), 0) AS credit, coalesce(sum(debit), 0) AS debit
        FROM ({_LATER}) moved
    ) later
), kept AS (
    INSERT INTO balance_snapshots (balance_id, moment, position, credit_balance, debit_balance)
    SELECT balance_id, :moment, :position, credit, debit FROM counted
    WHERE (credit, debit) IS DISTINCT FROM (last_credit, last_debit)
    RETURNING 1
)
SELECT (SELECT balance_id FROM slice ORDER BY balance_id DESC LIMIT 1) AS last,
    (SELECT count(*) FROM slice) AS seen, (SELECT count(*) FROM kept) AS kept
"""
_KEEP = text(_KEEP_TEXT).bindparams(
    bindparam("alone", type_=Boolean), bindparam("apart", type_=ARRAY(DateTime(timezone=True)))
)
"""Figures only grow, so a balance whose figures are those of its last snapshot has not changed.

alone: of an earlier moment, with the figures of all balances. apart: moments of such ones, which
those that follow each other don't count on."""

_APART = text("""
SELECT moment FROM (
    SELECT moment, moment >= coalesce(max(moment) OVER (
            ORDER BY position, moment ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ), '-infinity') AS is_next FROM snapshots
) taken WHERE NOT is_next
""")
"""As the proof parts them: those that were taken later for an earlier moment."""


class RequestLog(Protocol):
    """What a snapshot asks of the log (``queue.log.Log``)."""

    def partitions(self) -> int:
        """How many partitions the log has. Raises LogNotInstalled."""

    def now_ms(self) -> int:
        """The server's time in milliseconds since the epoch."""

    def forward_clock(self, position: int) -> None:
        """Make sure that new entries come after ``position``."""

    def end_of(self, epoch: int) -> int:
        """The last position that is routed as in this epoch of the log."""

    def first_unread(self, cursors: Mapping[int, int]) -> dict[int, int]:
        """The position of the first unread entry of each partition that has one."""


@dataclass(frozen=True, slots=True)
class SnapshotView(View):
    """A snapshot.

    moment: records that take effect up to it count. position: of those, what was accepted before
    this. balances: how many had changed since their last snapshot, and were kept.
    """

    moment: datetime
    position: int
    balances: int


def take_snapshot(
    engine: Engine, request_log: RequestLog, at: datetime | None = None
) -> SnapshotView | None:
    """Keep the figures of all balances that changed, in one unit of work.

    at: keep those of all balances at this earlier moment instead, with what is dated back to it.

    When none has changed, nothing is written. None when nothing could be kept that the newest
    snapshot does not have: older requests wait to be applied, or another snapshot is being taken.
    Raises MalformedRequest when there is one of that moment, StoreUnavailable, LogUnavailable.
    """
    with (
        translated_faults(),
        # Each statement must see what was committed before it, not before the first.
        engine.connect().execution_options(isolation_level="READ COMMITTED") as connection,
        connection.begin(),
    ):
        if not connection.execute(select(func.pg_try_advisory_xact_lock(_LOCK_KEY))).scalar_one():
            return None
        moment_ms = _decided_ms(connection, request_log)
        moment = EPOCH + timedelta(milliseconds=moment_ms)
        position = moment_ms << POSITION_COUNTER_BITS
        if not _is_to_keep(connection, moment, at):
            return None
        moment = at or moment
        kept = _keep_all(connection, moment, position, alone=at is not None)
        if kept:
            connection.execute(
                snapshots.insert().values(moment=moment, position=position, balances=kept)
            )
    return SnapshotView(moment, position, kept)


def _is_to_keep(connection: Connection, decided: datetime, at: datetime | None) -> bool:
    """Whether the figures of a moment can be kept, and are not yet. Raises MalformedRequest.

    decided: everything accepted before it has been applied.
    """
    if at is None:
        newest = connection.execute(select(func.max(snapshots.c.moment))).scalar_one()
        return newest is None or bool(decided > newest)
    same = connection.execute(select(snapshots.c.position).where(snapshots.c.moment == at)).first()
    if same is not None:
        raise bad_value("at", "has a snapshot already, which stays: give another instant near it")
    return at < decided


def _decided_ms(connection: Connection, request_log: RequestLog) -> int:
    """The newest moment before which everything accepted has been applied, in milliseconds.

    Each step sees what the one before it could miss: from now on nothing is accepted for earlier;
    an entry that the cursors had not passed is unread, or was deferred, or applied, since.
    """
    request_log.partitions()
    now_ms = request_log.now_ms()
    request_log.forward_clock(now_ms << POSITION_COUNTER_BITS)
    rows = connection.execute(
        select(partitions.c.partition, partitions.c.cursor, partitions.c.epoch).where(
            partitions.c.partition < partitions.c.total
        )
    ).all()
    still_open = list(request_log.first_unread({row[0]: row[1] for row in rows}).values())
    # What stands behind the end of the epoch may be in a partition that Postgres does not have yet.
    still_open += [request_log.end_of(row.epoch) for row in rows[:1]]
    oldest: int | None = connection.execute(
        select(func.min(deferred_entries.c.position))
    ).scalar_one()
    if oldest is not None:
        still_open.append(oldest)
    open_ms = [position >> POSITION_COUNTER_BITS for position in still_open]
    return min([now_ms, *open_ms])


def newest_position(connection: Connection) -> int:
    """The position that the log must go on behind: nothing older may be accepted any more.

    The newest that any partition has read, or that a snapshot counts up to.
    """
    cursor = select(func.coalesce(func.max(partitions.c.cursor), 0)).scalar_subquery()
    snapshot = select(func.coalesce(func.max(snapshots.c.position), 0)).scalar_subquery()
    return int(connection.execute(select(func.greatest(cursor, snapshot))).scalar_one())


def _keep_all(connection: Connection, moment: datetime, position: int, *, alone: bool) -> int:
    """Keep what changed, so many balances at a time; returns how many were kept."""
    apart = list(connection.execute(_APART).scalars())
    undated_from = min(position, first_position(moment, after=True))
    after: UUID = _BEFORE_ALL
    kept = 0
    while True:
        found = connection.execute(
            _KEEP,
            {
                "after": after,
                "limit": BALANCES_AT_ONCE,
                "moment": moment,
                "position": position,
                "undated_from": undated_from,
                "alone": alone,
                "apart": apart,
            },
        ).one()
        kept += int(found.kept)
        if found.seen < BALANCES_AT_ONCE:
            return kept
        after = found.last
