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

from daybook.embedded.servers import Servers, start_servers
from tests.fault.campaign.__main__ import chosen, line, table
from tests.fault.campaign.kinds import KINDS, Promise, catalogue, drawn_pairs
from tests.fault.campaign.run import Result, run_kind
from tests.harness import Cluster
from tests.unit.test_docs import text_of

SHORT = [kind.name for kind in catalogue().values() if kind.short]
RUN_SECONDS_MAX = 1_500
"""A run on a busy machine: its own waits end sooner, when nothing moves."""

SEED = 7
SHORT_REQUESTS = 600
PAIRS = ["beat-absent+balance-locked", "worker-killed+doorbells-lost"]
"""Two that wait and two that kill: nothing is both taken and needed."""


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


@pytest.mark.timeout(RUN_SECONDS_MAX)
@pytest.mark.parametrize("name", [*SHORT, *PAIRS])
def test_a_fault_under_live_traffic_leaves_the_oracle_content(
    own_servers: Servers, own_cluster: Cluster, tmp_path: Path, name: str
) -> None:
    """Everything accepted has its outcome, everybody was told, and the judge finds nothing."""
    (kind,) = chosen([name], KINDS)
    result = run_kind(kind, own_servers, own_cluster, tmp_path, SEED, SHORT_REQUESTS)
    assert not result.skipped
    assert result.violations == []
    assert result.applied == result.accepted > SHORT_REQUESTS // 2


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


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("wroker-killed", "no such kind: wroker-killed"),
        ("beat-killed+wroker-killed", "no such kind: wroker-killed"),
        ("postgres-killed+sessions-terminated", "can't go together, for postgres, sessions"),
        ("dies-at-read+worker-killed", "can't go together, for workers"),
        ("valkey-file-lost+postgres-set-back", "can't go together, for .*log"),
        ("log-full+log-full", "can't go together, for they are the same"),
        ("beat-killed+log-full+worker-killed", "two kinds at once, not more"),
    ],
)
def test_what_cannot_be_brought_about_is_refused(name: str, why: str) -> None:
    """A mistyped name, and two kinds of which one takes what the other takes or needs."""
    with pytest.raises(SystemExit, match=why):
        chosen([name], KINDS)


def test_pairs_are_drawn_by_seed_and_replayed_by_name() -> None:
    """The same for the same seed; each goes together, and its name brings it about again."""
    drawn = drawn_pairs(KINDS.values(), 100, SEED)
    names = [pair.name for pair in drawn]
    assert len(set(names)) == 100
    assert names == [pair.name for pair in drawn_pairs(KINDS.values(), 100, SEED)]
    assert names != [pair.name for pair in drawn_pairs(KINDS.values(), 100, SEED + 1)]
    again = chosen(names, KINDS)
    assert [(kind.name, kind.promise, kind.takes) for kind in again] == [
        (pair.name, pair.promise, pair.takes) for pair in drawn
    ]
    result = Result(names[0], SEED, violations=["a balance is not the fold of its rows"])
    assert f"make faults KINDS='{names[0]}' SEED={SEED}" in line(result)


def test_a_pair_promises_the_less_of_the_two() -> None:
    """What one of them loses is lost, however little the other does."""
    (weak,) = chosen(["beat-killed+replies-lost"], KINDS)
    (strong,) = chosen(["beat-killed+balance-locked"], KINDS)
    assert (weak.promise, strong.promise) == (Promise.SEND_AGAIN, Promise.NOTHING_LOST)


def test_every_kind_says_what_it_takes_or_needs() -> None:
    """Otherwise it would go together with anything."""
    assert [kind.name for kind in KINDS.values() if not kind.takes | kind.needs] == []
