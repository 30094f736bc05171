"""What may not be at the end of a run: what the judge finds, and what somebody was told wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from daybook.ledger.chain import GENESIS, link
from daybook.ledger.entry import LogEntry
from daybook.ledger.instructions import DISCARDED, RETRIED
from daybook.ledger.rejection import Reason, Rejected
from daybook.queue.entries import NewEntry, read_value
from tests.engine.compare import shown_of_record, shown_of_row
from tests.engine.entries import accepted_row, read_entry
from tests.oracle.judge import audit
from tests.simulation.poison import is_spoilt
from tests.traffic.purses import expected_of

if TYPE_CHECKING:
    from tests.simulation.world import World


def violations_of(world: World) -> list[str]:
    """Everything that may not be after a run has come to rest."""
    return list(_Judgement(world).violations())


class _Judgement:
    def __init__(self, world: World) -> None:
        self._world = world
        self._log = world.log
        self._store = world.store

    def violations(self) -> Iterator[str]:
        """Everything that may not be."""
        tables, shelf = self._store.tables, self._store.tables.shelf
        found = audit(
            shelf.rows(),
            shelf.balances,
            shelf.holds,
            [accepted_row(entry) for entry in self._accepted()],
            done=shelf.done(),
            schedules=shelf.schedules.keys(),
            beside=tables.references_beside(),
            things=shelf.things(),
            epochs=[(epoch.fence, epoch.partitions) for epoch in tables.epochs],
        )
        if self._saved() or self._world.settings.rejection_wait_seconds_max is not None:
            # Nobody could wait for money that had been lost, though it came in the end; or longer
            # than was asked for.
            found = [violation for violation in found if not violation.startswith("12:")]
        yield from found
        yield from self._store.deadlocks
        yield from self._broken_chains()
        yield from self._broken_promises()
        yield from self._broken_purses()
        yield from self._unresolved()
        for partition, rejection in tables.rejections:
            if rejection.traceback and not is_spoilt(rejection.body):
                yield f"quarantined in {partition}: {rejection.traceback[-900:]}"

    def _saved(self) -> dict[int, NewEntry]:
        """What the log lost after a worker had read it, and that was applied all the same."""
        recorded = {record.position for record in self._store.tables.shelf.records.values()}
        recorded |= {rejection.position for _, rejection in self._store.tables.rejections}
        return {at: new for at, new in self._log.lost.items() if at in recorded}

    def _accepted(self) -> Iterator[LogEntry]:
        for position, new in sorted((self._log.accepted | self._saved()).items()):
            entry = read_entry(new.body, new.request_id, position)
            assert not isinstance(entry, Rejected), entry
            yield entry

    def _broken_purses(self) -> Iterator[str]:
        """Requests of which it is known what becomes of them, and that became something else."""
        if self._saved() or self._world.settings.rejection_wait_seconds_max is not None:
            return
        records = self._store.tables.shelf.records
        for row in expected_of(
            (new.body, new.request_id, (position >> 20) * 1000)
            for position, new in sorted(self._log.accepted.items())
        ):
            record = records.get(row.transaction_id)
            found = shown_of_record(record._asdict()) if record else {}
            wanted = shown_of_row(row)
            wrong = [name for name in wanted if found.get(name) != wanted[name]]
            if wrong:
                own = record.reference if record else row.transaction_id
                says = [f"{name} {found.get(name)} and not {wanted[name]}" for name in wrong]
                yield f"12: of {own} the journal says {', '.join(says)}"

    def _unresolved(self) -> Iterator[str]:
        """What was quarantined has the outcome that the operator wanted."""
        tables = self._store.tables
        lost = {new.request_id for new in self._log.lost.values()}
        hows: dict[str, set[str]] = {}
        for (_, request_id), how in tables.resolved.items():
            hows.setdefault(request_id, set()).add(how)
        kept = {
            each.request_id for _, each in tables.rejections if each.reason != Reason.QUARANTINED
        }
        for request_id, chosen in hows.items():
            is_recorded = request_id in tables.shelf.records
            if chosen == {DISCARDED} and is_recorded:
                yield f"3: {request_id} was discarded, and is recorded"
            if chosen == {RETRIED} and not is_recorded and request_id not in kept | lost:
                yield f"4: {request_id} was retried, and has no outcome"

    def _broken_chains(self) -> Iterator[str]:
        for partition, journal in enumerate(self._store.tables.shelf.journals):
            head = GENESIS
            for sequence, record in enumerate(journal.records, 1):
                head = link(head, partition, sequence, record)
            row = self._store.tables.rows[partition]
            if (row.head, row.sequence) != (head, len(journal.records)):
                yield f"10: the chain of {partition} does not end at its head"

    def _broken_promises(self) -> Iterator[str]:
        """What somebody was told is what the journal says, and what the log says in the end."""
        by_reference = {
            f"t:{record.reference}": record
            for record in self._store.tables.shelf.records.values()
            if not record.derived
        }
        for (key, _), outcome in () if self._world.may_change else self._world.told.items():
            record = by_reference.get(key)
            if self._world.is_of_another(key[2:], outcome):
                continue
            if record is None or not outcome.final or outcome.duplicate:
                continue
            if outcome.reason == Reason.QUARANTINED:
                continue
            if (record.status, record.reason) != (outcome.status, outcome.reason):
                yield f"3: {key} was told {outcome.status}, and is {record.status}"
        for key, value in (self._log.state.queued | self._log.state.outcomes).items():
            record = by_reference.get(key)
            state = read_value(value)
            if record is not None and state.request_id != record.transaction_id:
                continue  # a rival's, which a log without its end may have forgotten
            if record is not None and state.status not in (record.status, "SCHEDULED"):
                yield f"3: the log says {state.status} of {key}, the journal {record.status}"
