"""The simulation: a bounded number of runs finds nothing, replays exactly, and can find faults."""

from __future__ import annotations

import pytest

from daybook.steps import Point
from tests.simulation.__main__ import MUTANT_RUNS_MAX, STEPS, find, replay_line
from tests.simulation.chaos import AT_POINTS, Fault
from tests.simulation.mutations import MUTATIONS, Mutation, mutated
from tests.simulation.world import run

RUNS = 60
"""Enough for each fault to happen; `make simulate` and `make faults` look for more."""
QUICK = {
    "commit the cursor first",
    "trim before the commit",
    "never reply for the dead",
    "spend what is held",
    "leave a half of an atomic bulk",
    "post a due transaction before its time",
    "break the chain between two batches",
    "create nothing by what is deferred",
    "keep the balances that an undone bulk has made",
    "schedule what is due at this very instant",
}
"""Deliberate faults that show within some runs; the others take the long campaign."""


@pytest.mark.long
def test_whatever_goes_wrong_the_ledger_may_stand() -> None:
    """No seed of a fixed range leads to a violation, and nearly every kind of fault happened."""
    happened: set[Fault] = set()
    for seed in range(RUNS):
        verdict = run(seed, STEPS)
        assert verdict.violations == [], f"{replay_line(verdict)}: {verdict.violations[:3]}"
        happened |= {Fault(fault) for fault, _ in verdict.happened}
    assert happened == set(Fault)


def test_a_seed_is_a_whole_run() -> None:
    """The same seed gives the same run, to the last turn; another seed another one."""
    first, again, other = run(7, STEPS), run(7, STEPS), run(8, STEPS)
    assert first == again
    assert first.trace != other.trace


@pytest.mark.long
@pytest.mark.campaign
def test_every_point_of_the_pipeline_is_struck_by_every_fault() -> None:
    """Crash, stall, error and repetition come about at each named point."""
    wanted = {(fault, point) for fault in AT_POINTS for point in Point}
    missed = set(wanted)
    for seed in range(MUTANT_RUNS_MAX):
        missed -= run(seed, STEPS).happened.keys()
        if not missed:
            break
    assert missed == set()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_deliberate_fault_changes_the_code(mutation: Mutation) -> None:
    """What it replaces is there, once, and the code is as it was afterwards."""
    with mutated(mutation):
        pass
    with mutated(mutation):  # what it replaces is there again
        pass


@pytest.mark.parametrize(
    "mutation",
    [
        pytest.param(m, id=m.name, marks=() if m.name in QUICK else pytest.mark.campaign)
        for m in MUTATIONS
    ],
)
def test_a_deliberate_fault_is_found(mutation: Mutation) -> None:
    """A fault of the real code leads to a violation within a bounded number of runs."""
    assert find(mutation, MUTANT_RUNS_MAX) is not None
