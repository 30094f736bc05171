"""Deliberate faults of the real code, each of which the simulation must find.

A mutation is a text that stands once in a module and what stands there instead. The functions of
the module get the changed code in place, so that everybody who has them sees it.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any


@dataclass(frozen=True, slots=True)
class Mutation:
    """One fault. name: what the code does wrong. module: where, below ``daybook``."""

    name: str
    module: str
    right: str
    wrong: str


MUTATIONS = [
    Mutation(
        "skip the cursor update",
        "apply.attempt",
        "cursor = cursors[row.partition]\n",
        "cursor = row.cursor\n",
    ),
    Mutation(
        "commit the cursor first",
        "apply.attempt",
        "        unit.write_creations(book)\n",
        "        for row in moved:\n"
        "            unit.advance(row, cursors[row.partition], row.sequence, row.head, {})\n"
        "        unit.commit()\n"
        "        reach(Point.COMMITTED)\n"
        "        unit.write_creations(book)\n",
    ),
    Mutation(
        "take no references",
        "apply.attempt",
        "        unit.take_references(claims_of(book, refused))\n",
        "",
    ),
    Mutation(
        "drop the reference check",
        "ledger.book",
        "        if reference is not None and reference in self.references:\n"
        "            found = self.references[reference]\n"
        "            if not (found.is_retried and found.transaction_id == transaction_id):\n"
        "                return found\n"
        "        return self.taken_ids.get(transaction_id[-ID_LENGTH:])\n",
        "        return None\n",
    ),
    Mutation(
        "take locks in another order",
        "apply.attempt",
        "self._unit.lock(sorted({self._partition, *tactics.rights}))",
        "self._unit.lock([self._partition, *(tactics.rights - {self._partition})])",
    ),
    Mutation(
        "trim before the commit",
        "apply.applier",
        "self.log.trim(partition, min(cursor, kept_ms << POSITION_COUNTER_BITS))",
        "self.log.trim(partition, self.log.clock())",
    ),
    Mutation(
        "refuse at once instead of deferring",
        "ledger.batch",
        "if outcome.reason not in WAITS_FOR_THE_PAST or horizon.is_final(",
        "if outcome.reason is not None or horizon.is_final(",
    ),
    Mutation(
        "read the figures before the cursors",
        "apply.attempt",
        "        reach(Point.LOADED)\n",
        "        reach(Point.LOADED)\n"
        "        if len(joined) == 1:\n"
        "            horizon = self._horizon(joined, self._unread_elsewhere(joined))\n",
    ),
    Mutation(
        "decide a foreign debit without its right",
        "apply.attempt",
        "        if missing:\n            raise NeedsLocks(missing, join=False)\n",
        "",
    ),
    Mutation(
        "pass a barrier",
        "apply.reading",
        "if first_unread is not None and first_unread <= raw.position:",
        "if first_unread is not None and first_unread < 0:",
    ),
    Mutation(
        "let what is deferred be overtaken",
        "ledger.batch",
        "        deferred_slots.add(entry.slot)\n        waits = Deferred",
        "        waits = Deferred",
    ),
    Mutation(
        "forget what others defer",
        "apply.attempt",
        "deferred_elsewhere = self._unit.deferred_elsewhere(row.partition for row in joined)",
        "deferred_elsewhere: dict[str, int] = {}",
    ),
    Mutation(
        "forget what is left unread beside",
        "apply.attempt",
        "            horizon = horizon.up_to(min([fence, *left_unread(found, reads)]))\n",
        "            pass\n",
    ),
    Mutation(
        "reply before the commit",
        "apply.attempt",
        "        reach(Point.BEFORE_COMMIT)\n",
        "        for row, told in done:\n"
        "            self._surroundings.reply(row, told.all, told.celery)\n"
        "        reach(Point.BEFORE_COMMIT)\n",
    ),
    Mutation(
        "never reply for the dead",
        "apply.attempt",
        "        if replied >= row.batch:\n            return\n",
        "        return\n",
    ),
    Mutation(
        "leave a released entry deferred",
        "apply.attempt",
        "position for position in found if position not in still_deferred]",
        "position for position in found if position in still_deferred]",
    ),
    Mutation(
        "spend what is held",
        "ledger.balance",
        "return self.credit - self.debit - self.inflight_debit",
        "return self.credit - self.debit",
    ),
    Mutation(
        "commit more than is left of a hold",
        "ledger.hold",
        "return self.amount - self.committed - self.voided",
        "return self.amount - self.voided",
    ),
    Mutation(
        "leave a half of an atomic bulk",
        "ledger.posting.bulk",
        "                book.undo(savepoint)\n                return rejection",
        "                return rejection",
    ),
    Mutation(
        "refund twice",
        "ledger.posting.refunds",
        "book.refunded.add",
        "book.commits.get",
    ),
    Mutation(
        "go on behind the clock of a log that came back",
        "apply.sweep",
        "    clock = request_log.mend(epoch.partitions, newest, present)\n",
        "    clock = request_log.mend(epoch.partitions, 0, present)\n",
    ),
    Mutation(
        "post a due transaction before its time",
        "ledger.posting.transactions",
        "return scheduled_micros > entry.accepted_ms * 1000",
        "return False",
    ),
    Mutation(
        "keep a schedule that was applied",
        "ledger.book",
        "            self.closed_schedules.append(transaction_id)\n",
        "            pass\n",
    ),
    Mutation(
        "credit a leg less than was debited",
        "ledger.posting.transactions",
        "            destination.add(amount)\n",
        "            destination.add(amount - 1)\n",
    ),
    Mutation(
        "break the chain between two batches",
        "apply.attempt",
        "unit.advance(row, cursor, *ends[row.partition], beside)",
        "unit.advance(row, cursor, ends[row.partition][0], row.head, beside)",
    ),
    Mutation(
        "read past the fence",
        "apply.attempt",
        "found = up_to(end, found) if self._report.fenced else found",
        "found = list(found)",
    ),
    Mutation(
        "turn before everything is read",
        "apply.epochs",
        "if is_unread or replied",
        "if replied",
    ),
    Mutation(
        "turn before everything deferred is decided",
        "apply.epochs",
        "left = unit.deferring()",
        "left: set[int] = set()",
    ),
    Mutation(
        "turn before producers of the dead are told",
        "apply.epochs",
        "if is_unread or replied.get(row.partition, 0) < row.batch:",
        "if is_unread:",
    ),
    Mutation(
        "begin an epoch in a log that is older than the database",
        "installation.resize",
        "request_log.epochs.begin(partitions, stored.number, newest)",
        "request_log.epochs.begin(partitions)",
    ),
    Mutation(
        "give a log that lost a resize the number of the database at once",
        "apply.sweep",
        "request_log.epochs.catch_up(*epoch, newest)",
        "request_log.epochs.catch_up(*epoch, epoch.fence)",
    ),
]


@contextmanager
def mutated(mutation: Mutation) -> Iterator[None]:
    """The program with this fault in it, until the end of the block."""
    module = importlib.import_module(f"daybook.{mutation.module}")
    source = Path(inspect.getsourcefile(module) or "").read_text(encoding="utf-8")
    assert source.count(mutation.right) == 1, f"{mutation.name}: {mutation.right!r} is gone"
    changed: dict[str, Any] = {"__name__": module.__name__}
    exec(compile(source.replace(mutation.right, mutation.wrong), "mutated", "exec"), changed)
    before: list[tuple[FunctionType, CodeType]] = []
    twins = dict(_functions(changed))
    for name, function in _functions(vars(module)):
        if name in twins and twins[name].__code__ != function.__code__:
            before.append((function, function.__code__))
            function.__code__ = twins[name].__code__
    assert before, f"{mutation.name}: no function is changed"
    try:
        yield
    finally:
        for function, code in before:
            function.__code__ = code


def _functions(names: dict[str, Any]) -> Iterator[tuple[str, FunctionType]]:
    """Functions, methods and properties of a module's own, by qualified name."""
    for name, value in names.items():
        if isinstance(value, ModuleType) or getattr(value, "__module__", None) != names["__name__"]:
            continue
        if isinstance(value, FunctionType):
            yield name, value
        elif isinstance(value, type):
            for own, member in vars(value).items():
                found = member.fget if isinstance(member, property) else member
                if isinstance(found, FunctionType):
                    yield f"{name}.{own}", found
