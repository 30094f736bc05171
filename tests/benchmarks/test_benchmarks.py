"""A short run of the benchmarks: that they measure real work, never how fast it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import __main__ as bench
from tests.benchmarks import measures
from tests.harness import Cluster


@pytest.mark.long
def test_a_short_run_measures_everything(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part posts what it says, and the report has every ratio."""
    monkeypatch.setattr(bench, "BALANCES", 50)
    monkeypatch.setattr(bench, "REPEATS", 1)
    monkeypatch.setattr(measures, "PRELOADED", True)
    report = bench.run(cluster, tmp_path, transactions=300, backlog=0, statement_rows=3_000)
    assert report["apply"]["transactions"] == 300
    assert report["drafts_per_core"]["requests"] == 300
    assert report["copy"]["rows"] > 300
    assert report["idle"]["requests"] == 300
    assert report["http"]["post"]["answers"] == 300
    assert all(one["per_second"] > 0 for one in report["http"].values())
    assert report["history"]["rows"] == 3_000
    assert report["history"]["export_per_second"] > 0
    assert set(report["ratios"]) == {
        "apply / plain COPY",
        "with rejections / without",
        "with task events / without",
        "one partition / two",
        "in atomic bulks of 1,000 / single",
        "cost of 100 legs / of a single",
        "apply / one Celery message each",
    }
    assert all(value > 0 for value in report["ratios"].values())
