"""The checks: what was found against what the story expects. Pure, so that tests can break them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from daybook.client.receipts import Outcome
from daybook.counting import counted
from daybook.demo.observer import Seen
from daybook.demo.tally import Figures, Step
from daybook.ledger.record import Status
from daybook.store.proof.verify import VerifyReport

SHOWN_MAX = 3
"""Violations that the result of a check names."""


@dataclass(frozen=True, slots=True)
class Kill:
    """What happened with the worker process that was killed.

    sent: requests that had been sent; without_outcome: those of them that were still open.
    replaced_by: processes that were started in its place.
    """

    pid: int
    sent: int
    without_outcome: int
    replaced_by: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Sums:
    """All balances of one currency: how many, and the sums of their figures in minor units."""

    currency: str
    precision: int
    balances: int
    credits: int
    debits: int
    inflight_credits: int
    inflight_debits: int

    @property
    def remainder(self) -> int:
        """What is there that came from nowhere: must be zero."""
        return self.credits - self.debits


@dataclass(frozen=True, slots=True)
class Found:
    """What the demo found when all was done.

    created: outcomes of the requests that create the ledger and its balances.
    outcomes: of each step, in order; None when there was none within the bound.
    seen: the scenes, in order. figures: of every balance of the ledger. sums: by currency.
    records_of: journal records by repeated reference.
    """

    created: Sequence[Outcome | None]
    outcomes: Sequence[Outcome | None]
    seen: Sequence[Seen]
    figures: Mapping[str, Figures]
    sums: Sequence[Sums]
    records_of: Mapping[str, int]
    verified: VerifyReport
    kill: Kill


@dataclass(frozen=True, slots=True)
class Check:
    """One claim; detail names what breaks it."""

    claim: str
    ok: bool
    detail: str = ""


def judge(steps: Sequence[Step], expected: Mapping[str, Figures], found: Found) -> list[Check]:
    """All checks, in the order in which they are shown."""
    return [
        _check("the ledger and its balances were created", _not_created(found)),
        _check("every request has an outcome", _without_outcome(steps, found)),
        _check("outcomes and rejections are the expected ones", _unexpected(steps, found)),
        _check("every scene came out as promised", _broken_promises(found.seen)),
        _check("every scene left, or foretold, the right figures", _misfigured(found.seen)),
        _check("every balance is what the plain tally says", _wrong_figures(expected, found)),
        _check("what was sent twice was posted once", _posted_twice(steps, found)),
        _check("money sums to zero in every currency", _unbalanced(found.sums)),
        _check("the journal has a record for each request and part", _miscounted(steps, found)),
        _check("the killed worker was replaced", _not_replaced(found)),
        _check("verify: chain, numbering, balances, holds, sums", _violations(found)),
    ]


def count_outcomes(outcomes: Iterable[Outcome | None]) -> Counter[tuple[str, str]]:
    """How many outcomes there are by status and by reason (or another remark)."""
    counts: Counter[tuple[str, str]] = Counter()
    for outcome in outcomes:
        if outcome is None:
            counts["QUEUED", "no outcome"] += 1
        else:
            remark = "sent again: changed nothing" if outcome.duplicate else outcome.reason or ""
            counts[outcome.status, remark] += 1
    return counts


def _check(claim: str, violations: Iterator[str]) -> Check:
    all_found = list(violations)
    shown, more = all_found[:SHOWN_MAX], len(all_found) - SHOWN_MAX
    if more > 0:
        shown.append(f"and {more} more")
    return Check(claim, not all_found, "; ".join(shown))


def _not_created(found: Found) -> Iterator[str]:
    for outcome in found.created:
        if outcome is None or outcome.status != Status.APPLIED:
            yield str(outcome)


def _without_outcome(steps: Sequence[Step], found: Found) -> Iterator[str]:
    for step, outcome in zip(steps, found.outcomes, strict=True):
        if outcome is None:
            yield f"{_name(step)} has none"


def _unexpected(steps: Sequence[Step], found: Found) -> Iterator[str]:
    for step, outcome in zip(steps, found.outcomes, strict=True):
        if outcome is None:
            continue
        wanted = (step.status, step.reason, _is_repeated(step))
        given = (outcome.status, outcome.reason, outcome.duplicate)
        if given != wanted:
            yield f"{_name(step)} is {_words(*given)}, not {_words(*wanted)}"


def _wrong_figures(expected: Mapping[str, Figures], found: Found) -> Iterator[str]:
    nothing = Figures(0, 0, 0)
    for balance_id in sorted(expected.keys() | found.figures.keys()):
        wanted = expected.get(balance_id, nothing)
        given = found.figures.get(balance_id, nothing)
        if given != wanted:
            yield f"{balance_id} has {given}, not {wanted}"


def _broken_promises(seen: Iterable[Seen]) -> Iterator[str]:
    for scene in seen:
        if scene.shown != scene.promised:
            yield f"{scene.what.strip()}: {scene.shown}, not {scene.promised}"


def _misfigured(seen: Iterable[Seen]) -> Iterator[str]:
    for scene in seen:
        for name, wanted in scene.promised_figures.items():
            if scene.figures[name] != wanted:
                yield f"{scene.what.strip()}: {name} has {scene.figures[name]}, not {wanted}"


def _unbalanced(sums: Iterable[Sums]) -> Iterator[str]:
    for one in sums:
        if one.remainder or one.inflight_credits != one.inflight_debits:
            yield f"{one.currency}: {one}"


def _posted_twice(steps: Sequence[Step], found: Found) -> Iterator[str]:
    for reference in sorted(repeated_references(steps)):
        number = found.records_of.get(reference, 0)
        if number != 1:
            yield f"{reference} has {counted(number, 'record')}"


def _miscounted(steps: Sequence[Step], found: Found) -> Iterator[str]:
    wanted = len(found.created) + sum(step.records for step in steps)
    wanted += sum(scene.records for scene in found.seen)
    if found.verified.records != wanted:
        yield f"{counted(found.verified.records, 'record')}, not {wanted:,}"


def _not_replaced(found: Found) -> Iterator[str]:
    if not found.kill.replaced_by:
        yield f"nothing was started in the place of worker process {found.kill.pid}"


def _violations(found: Found) -> Iterator[str]:
    for violation in found.verified.violations:
        yield f"{violation.code} {violation.where}: {violation.message}"


def repeated_references(steps: Iterable[Step]) -> set[str]:
    """References that were sent more than once."""
    return {_name(step) for step in steps if not step.is_new}


def _is_repeated(step: Step) -> bool:
    return not step.is_new and step.reason is None


def _name(step: Step) -> str:
    return str(getattr(step.request, "reference", None) or step.kind)


def _words(status: str, reason: str | None, is_duplicate: bool) -> str:
    return " ".join(filter(None, (status, reason, "(again)" if is_duplicate else "")))
