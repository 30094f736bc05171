"""The catalogue of faults: a few kinds under live traffic, and its page.

All kinds: ``make faults``.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from daybook.embedded import Servers, start_servers
from tests.fault.campaign.__main__ import chosen, line, table
from tests.fault.campaign.kinds import KINDS, catalogue
from tests.fault.campaign.run import Result, run_kind
from tests.harness import Cluster
from tests.unit.test_docs import text_of

SHORT = [kind.name for kind in catalogue().values() if kind.short]
SEED = 7


@pytest.fixture(scope="module")
def own_servers() -> Iterator[Servers]:
    """Servers that may be killed: those of other tests may not."""
    with (
        tempfile.TemporaryDirectory(prefix="daybook-faults-") as folder,
        start_servers(Path(folder) / "servers") as servers,
    ):
        yield servers


@pytest.fixture(scope="module")
def own_cluster(own_servers: Servers) -> Cluster:
    return Cluster(own_servers.migration_database_url, own_servers.redis_url)


@pytest.mark.parametrize("name", SHORT)
def test_a_fault_under_live_traffic_leaves_the_oracle_content(
    own_servers: Servers, own_cluster: Cluster, tmp_path: Path, name: str
) -> None:
    """Everything accepted has its outcome, everybody was told, and the judge finds nothing."""
    result = run_kind(KINDS[name], own_servers, own_cluster, tmp_path, SEED)
    assert not result.skipped
    assert result.violations == []
    assert result.applied == result.accepted > 0


def test_every_kind_stands_on_the_page() -> None:
    """docs/reliability.md has a row for each kind, with what it does and promises, and no other."""
    page = text_of("docs/reliability.md").split("\n## The faults\n")[1].split("\n## ")[0]
    found = re.findall(r"^\| `([^`]+)` \| (.+) \| (.+) \|$", page, re.M)
    assert found == [(kind.name, kind.what, kind.promise) for kind in KINDS.values()]
    assert len(KINDS) >= 40


def test_a_violation_is_shown_and_counted() -> None:
    """The table and the lines say which kinds were right, skipped or wrong."""
    right = Result("one", 1, accepted=5, applied=5, back_seconds=0.2)
    skipped = Result("two", 1, skipped="needs a small disk")
    wrong = Result("three", 1, violations=["a balance is not the fold of its rows"])
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table([right, skipped, wrong]))
    shown = [row.strip() for row in console.export_text().splitlines()]
    ends = {row.split()[0]: row for row in shown if row.startswith(("one", "two", "three"))}
    assert ends["one"].endswith(" right")
    assert ends["two"].endswith(" skipped: needs a small disk")
    assert ends["three"].endswith(" 1 violation")
    assert "a balance is not the fold" in line(wrong)


def test_a_kind_that_does_not_exist_is_refused() -> None:
    """A mistyped name runs nothing."""
    with pytest.raises(SystemExit, match="no such kind: wroker-killed"):
        chosen(["wroker-killed"], KINDS)
