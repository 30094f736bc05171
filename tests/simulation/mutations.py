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
        "worker.attempt",
        "cursor = cursors[row.partition]\n",
        "cursor = row.cursor\n",
    ),
    Mutation(
        "commit the cursor first",
        "worker.attempt",
        "        unit.write_creations(book)\n",
        "        for row in moved:\n"
        "            unit.advance(row, cursors[row.partition], row.sequence, row.head, {})\n"
        "        unit.commit()\n"
        "        reach(Point.COMMITTED)\n"
        "        unit.write_creations(book)\n",
    ),
    Mutation(
        "take no references",
        "worker.attempt",
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
        "worker.attempt",
        "self._unit.lock(sorted({self._partition, *way.rights}))",
        "self._unit.lock([self._partition, *(way.rights - {self._partition})])",
    ),
    Mutation(
        "trim before the commit",
        "worker.apply",
        "self.log.trim(partition, min(cursor, kept_ms << POSITION_COUNTER_BITS))",
        "self.log.trim(partition, self.log.clock())",
    ),
    Mutation(
        "refuse at once instead of holding over",
        "ledger.batch",
        "if outcome.reason not in WAITS_FOR_THE_PAST or horizon.is_final(",
        "if outcome.reason is not None or horizon.is_final(",
    ),
    Mutation(
        "read the figures before the cursors",
        "worker.attempt",
        "        reach(Point.LOADED)\n",
        "        reach(Point.LOADED)\n"
        "        if len(joined) == 1:\n"
        "            horizon = self._horizon(joined, self._unread_elsewhere(joined))\n",
    ),
    Mutation(
        "decide a foreign debit without its right",
        "worker.attempt",
        "        if missing:\n            raise MoreRights(missing, join=False)\n",
        "",
    ),
    Mutation(
        "pass a barrier",
        "worker.reading",
        "if first_unread is not None and first_unread <= raw.position:",
        "if first_unread is not None and first_unread < 0:",
    ),
    Mutation(
        "let what is held over be overtaken",
        "ledger.batch",
        "        held_slots.add(entry.slot)\n        held = HeldOver",
        "        held = HeldOver",
    ),
    Mutation(
        "forget what others hold over",
        "worker.attempt",
        "held_elsewhere = self._unit.held_elsewhere(row.partition for row in joined)",
        "held_elsewhere: dict[str, int] = {}",
    ),
    Mutation(
        "forget what is left unread beside",
        "worker.attempt",
        "            horizon = horizon.up_to(min([fence, *left_unread(found, reads)]))\n",
        "            pass\n",
    ),
    Mutation(
        "reply before the commit",
        "worker.attempt",
        "        reach(Point.BEFORE_COMMIT)\n",
        "        for row, told in done:\n"
        "            self._surroundings.reply(row, told.all, told.celery)\n"
        "        reach(Point.BEFORE_COMMIT)\n",
    ),
    Mutation(
        "never reply for the dead",
        "worker.attempt",
        "        if replied >= row.batch:\n            return\n",
        "        return\n",
    ),
    Mutation(
        "leave a released entry held over",
        "worker.attempt",
        "position for position in found if position not in still_held]",
        "position for position in found if position in still_held]",
    ),
    Mutation(
        "spend what is held",
        "ledger.balance",
        "return self.credit - self.debit - self.inflight_debit",
        "return self.credit - self.debit",
    ),
    Mutation(
        "commit more than is left of a hold",
        "ledger.inflight",
        "return self.amount - self.committed - self.voided",
        "return self.amount - self.voided",
    ),
    Mutation(
        "leave a half of an atomic bulk",
        "ledger.bulk",
        "                book.undo(savepoint)\n                return refusal",
        "                return refusal",
    ),
    Mutation(
        "refund twice",
        "ledger.refunds",
        "book.refunded.add",
        "book.commits.get",
    ),
    Mutation(
        "go on behind the clock of a log that came back",
        "worker.sweep",
        "    clock = request_log.mend(epoch.partitions, newest, present)\n",
        "    clock = request_log.mend(epoch.partitions, 0, present)\n",
    ),
    Mutation(
        "post a due transaction before its time",
        "ledger.movements",
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
        "ledger.movements",
        "            destination.add(amount)\n",
        "            destination.add(amount - 1)\n",
    ),
    Mutation(
        "break the chain between two batches",
        "worker.attempt",
        "unit.advance(row, cursor, *ends[row.partition], beside)",
        "unit.advance(row, cursor, ends[row.partition][0], row.head, beside)",
    ),
    Mutation(
        "read past the fence",
        "worker.attempt",
        "found = up_to(end, found) if self._report.fenced else found",
        "found = list(found)",
    ),
    Mutation(
        "turn before everything is read",
        "worker.turning",
        "if is_unread or replied",
        "if replied",
    ),
    Mutation(
        "turn before everything held over is decided",
        "worker.turning",
        "left = unit.holding_over()",
        "left: set[int] = set()",
    ),
    Mutation(
        "turn before producers of the dead are told",
        "worker.turning",
        "if is_unread or replied.get(row.partition, 0) < row.batch:",
        "if is_unread:",
    ),
    Mutation(
        "begin an epoch in a log that is older than the database",
        "worker.resizing",
        "request_log.epochs.begin(partitions, stored.number, newest)",
        "request_log.epochs.begin(partitions)",
    ),
    Mutation(
        "give a log that lost a resize the number of the database at once",
        "worker.sweep",
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
