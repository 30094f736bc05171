"""Simulated runs, for what no smaller test notices: ``make mutants`` alone collects them."""

from __future__ import annotations

import pytest

from tests.simulation.world import run

RUNS = 30
STEPS = 24


@pytest.mark.parametrize("seed", range(RUNS))
def test_a_run_finds_nothing(seed: int) -> None:
    """A run of the whole pipeline has no violation."""
    assert run(seed, STEPS).violations == []
