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

from daybook.ledger.posting import kinds as kinds_of_instructions
from daybook.requests import kinds as kinds_of_requests


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
        "apply.changes",
        "                cursors[row.partition],\n",
        "                row.cursor,\n",
    ),
    Mutation(
        "commit the cursor first",
        "apply.attempt",
        "        moved = unit.write(changes)\n",
        "        marks = [type(part)(part.row, part.cursor) for part in changes.partitions]\n"
        "        unit.write(type(changes)(Book(), {}, {}, marks))\n"
        "        unit.commit()\n"
        "        reach(Point.COMMITTED)\n"
        "        moved = unit.write(changes)\n",
    ),
    Mutation(
        "take no references",
        "apply.changes",
        "return Changes(book, claims_of(book, rejected), batch.flags, partitions)",
        "return Changes(book, {}, batch.flags, partitions)",
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
        "apply.locks",
        "unit.lock(sorted({partition, *tactics.locks}))",
        "unit.lock([partition, *(tactics.locks - {partition})])",
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
        "        if len(found.reads) == 1:\n"
        "            reader = self._reader([found.reads[0].row])\n"
        "            horizon = reader.horizon(reader.unread_elsewhere())\n",
    ),
    Mutation(
        "decide a foreign debit without its right",
        "apply.attempt",
        "        if missing:\n            return with_locks(self.tactics, missing, join=False)\n",
        "",
    ),
    Mutation(
        "pass a barrier",
        "apply.barriers",
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
        "apply.reader",
        "deferred_elsewhere = self._unit.deferred_elsewhere(row.partition for row in self._joined)",
        "deferred_elsewhere: dict[str, int] = {}",
    ),
    Mutation(
        "forget what is left unread beside",
        "apply.reader",
        "            horizon = horizon.up_to(min([front, *left_unread(found, reads)]))\n",
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
        "apply.late",
        "    if replied >= row.batch:\n        return\n",
        "    return\n",
    ),
    Mutation(
        "leave a released entry deferred",
        "apply.changes",
        "position for position in positions if position not in still_deferred]",
        "position for position in positions if position in still_deferred]",
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
        "            book.undo(savepoint)\n            return rejection",
        "            return rejection",
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
        "store.batch.changes",
        "head=head,",
        "head=self.row.head,",
    ),
    Mutation(
        "read past the fence",
        "apply.reader",
        "found = up_to(end, found) if fenced else found",
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
    Mutation(
        "credit by what is deferred only its first balance",
        "ledger.posting.transactions",
        "    return tuple(dict.fromkeys(names))\n",
        "    return tuple(dict.fromkeys(names))[:1]\n",
    ),
    Mutation(
        "create nothing by what is deferred",
        "ledger.posting.creations",
        "    return (entry.request_id,)\n",
        "    return ()\n",
    ),
    Mutation(
        "let what is deferred pay from an internal balance behind others",
        "ledger.posting.transactions",
        "        if may_be_internal(leg.source_id):\n            names.append(leg.source_id)\n",
        "",
    ),
    Mutation(
        "keep the holds of an undone bulk",
        "ledger.book",
        "            hold = self.holds.pop(record.transaction_id, None)\n",
        "            hold = None\n",
    ),
    Mutation(
        "leave the references of an undone bulk used",
        "ledger.book",
        "                self.references.pop(record.reference, None)\n            hold",
        "                pass\n            hold",
    ),
    Mutation(
        "keep the balances that an undone bulk has made",
        "ledger.book",
        "            del self.balances[balance.balance_id]\n"
        "            self.subjects.pop(balance.balance_id, None)\n"
        "        del self.new_balances[savepoint.new_balances :]\n",
        "            pass\n",
    ),
    Mutation(
        "schedule what is due at this very instant",
        "ledger.posting.transactions",
        "return scheduled_micros > entry.accepted_ms * 1000",
        "return scheduled_micros >= entry.accepted_ms * 1000",
    ),
]


@contextmanager
def mutated(mutation: Mutation) -> Iterator[None]:
    """The program with this fault in it, until the end of the block."""
    module = importlib.import_module(f"daybook.{mutation.module}")
    source = Path(inspect.getsourcefile(module) or "").read_text(encoding="utf-8")
    assert source.count(mutation.right) == 1, f"{mutation.name}: {mutation.right!r} is gone"
    changed: dict[str, Any] = {"__name__": module.__name__}
    with _kept(kinds_of_instructions.KINDS), _kept(kinds_of_requests.KINDS):
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


@contextmanager
def _kept(known: dict[Any, Any]) -> Iterator[None]:
    """A module that is run once more makes its kinds known once more: they stay as they were."""
    before = dict(known)
    known.clear()
    try:
        yield
    finally:
        known.clear()
        known.update(before)


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
