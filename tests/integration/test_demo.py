"""The demo: it is right on real servers, it leaves nothing behind, and its checks can fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from tests.harness import Cluster, daybook_program, wait_until

from daybook.cli.demo import print_result
from daybook.client.receipts import Outcome
from daybook.demo.checks import (
    Found,
    Kill,
    Sums,
    count_outcomes,
    judge,
    repeated_references,
)
from daybook.demo.observer import Seen
from daybook.demo.play import Result
from daybook.demo.story import TRANSACTIONS_MIN, Story
from daybook.demo.tally import Figures
from daybook.embedded.parts import INSTANCE_MARK
from daybook.ledger.instructions import Kind
from daybook.store.proof.verify import VerifyReport, Violation

SMALL = ("--transactions", "400")
DEMO_SECONDS_MAX = 600
"""It takes as long as there is work, perhaps on a busy machine."""

pytestmark = pytest.mark.timeout(DEMO_SECONDS_MAX)
SHOWN = {
    *("APPLIED: 2 APPLIED", "APPLIED: 3 APPLIED", "APPLIED: 2 APPLIED, 1 insufficient_funds"),
    *("REJECTED: 2 bulk_aborted, 1 insufficient_funds", "would be APPLIED: 3 APPLIED"),
    *("INFLIGHT: 2 INFLIGHT", "INFLIGHT: commit 15, void 25", "INFLIGHT: commit 10"),
    *("REJECTED already_refunded", "SCHEDULED", "REJECTED cancelled", "taken"),
    *("as the journal says", "owns Ada, Ben; kyc passed, tier gold"),
}
"""What the ledger must show in the demo of each kind of request."""
SERVER_SETTINGS = ("DAYBOOK_DATABASE_URL", "DAYBOOK_MIGRATION_DATABASE_URL", "DAYBOOK_REDIS_URL")


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Ours without servers; temporary folders lie in ``folder``."""
    ours = {name: text for name, text in os.environ.items() if name not in SERVER_SETTINGS}
    return {**ours, "TMPDIR": str(folder), **more}


def start_demo(env: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    """``daybook demo``, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "daybook.cli", "demo", *SMALL, *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_demo(env: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of ``daybook demo``."""
    done = subprocess.run(
        [daybook_program(), "demo", *SMALL, *arguments],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEMO_SECONDS_MAX,
    )
    return done.returncode, done.stdout, done.stderr


def parts_of(folder: Path) -> list[psutil.Process]:
    """Every process that belongs to an instance in ``folder``."""
    found = []
    for one in psutil.process_iter():
        try:
            if one.environ().get(INSTANCE_MARK, "").startswith(str(folder)):
                found.append(one)
        except psutil.Error:
            continue
    return found


@pytest.mark.long
def test_the_demo_is_right_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """It ends with 0, says as JSON what came out, and removes folder and processes."""
    code, out, err = run_demo(environment(tmp_path), "--json")
    assert out, err
    result = json.loads(out)
    assert [check for check in result["checks"] if not check["ok"]] == []
    assert (code, result["ok"]) == (0, True), err
    counts = {(o["status"], o["reason"]): o["count"] for o in result["outcomes"]}
    assert sum(counts.values()) == result["transactions"] == 400
    rejections = {reason for status, reason in counts if status == "REJECTED"}
    assert rejections == {
        *("reference_conflict", "insufficient_funds", "overdraft_limit_exceeded"),
        *("unknown_balance", "currency_mismatch", "commit_exceeds_hold", "already_refunded"),
    }
    assert counts["APPLIED", "sent again: changed nothing"] > 0
    assert result["killed_worker"]["pid"] not in result["killed_worker"]["replaced_by"]
    assert result["verify"]["ok"]
    credits = {one["currency"]: one["credits"] for one in result["sums"]}
    assert credits["TOKEN"] > 10**30
    shown = [scene["shown"] for scene in result["scenes"]]
    assert [scene["promised"] for scene in result["scenes"]] == shown
    assert set(shown) >= SHOWN
    assert list(tmp_path.iterdir()) == []
    assert parts_of(tmp_path) == []


def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    """Ctrl-C in the middle ends everything, removes the folder and exits with 130."""
    with start_demo(environment(tmp_path)) as child:
        said = child.stderr
        assert said is not None

        def runs() -> bool:
            assert child.poll() is None, said.read()
            return {"worker", "valkey"} <= set(recorded_parts(tmp_path))

        wait_until(runs, "the parts run")
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=DEMO_SECONDS_MAX) == 130, said.read()
    assert list(tmp_path.iterdir()) == []
    assert parts_of(tmp_path) == []


def recorded_parts(folder: Path) -> list[str]:
    """Names of the parts that were started in a demo's folder."""
    rosters = [path.read_text() for path in folder.glob("daybook-demo-*/parts.json")]
    return [part["name"] for roster in rosters for part in json.loads(roster)]


@pytest.mark.campaign
def test_the_demo_uses_empty_servers_and_refuses_those_of_others(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Servers that the environment names are used when they are empty, and only then."""
    database, redis = cluster.empty_database(), cluster.empty_redis()
    servers = {"DAYBOOK_DATABASE_URL": database, "DAYBOOK_REDIS_URL": redis}
    other = {"DAYBOOK_DATABASE_URL": cluster.empty_database(), "DAYBOOK_REDIS_URL": redis}
    with start_demo(environment(tmp_path, **servers)) as child:
        said = child.stderr
        assert said is not None

        def used() -> bool:
            assert child.poll() is None, said.read()
            return has_records(database)

        wait_until(used, "the demo posts to the server that was named")
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=DEMO_SECONDS_MAX) == 130, said.read()
    code, _, err = run_demo(environment(tmp_path, **servers))
    assert (code, "holds balances" in err) == (3, True), err
    code, _, err = run_demo(environment(tmp_path, **other))
    assert (code, "holds the log" in err) == (3, True), err
    assert list(tmp_path.iterdir()) == []
    for one in (database, other["DAYBOOK_DATABASE_URL"]):
        cluster.drop_database(one)


def has_records(database_url: str) -> bool:
    """Whether there is a journal with anything in it."""
    with psycopg.connect(database_url) as connection:
        exists = connection.execute("SELECT to_regclass('transactions') IS NOT NULL").fetchone()
        if exists != (True,):
            return False
        return connection.execute("SELECT 1 FROM transactions LIMIT 1").fetchone() is not None


# The checks


@pytest.fixture(scope="module")
def story() -> Story:
    """The smallest story."""
    return Story(TRANSACTIONS_MIN)


def all_right(story: Story) -> Found:
    """What a ledger without fault would show."""
    outcomes = [
        Outcome("txn", None, s.status, s.reason, None, not s.is_new and s.reason is None)
        for s in story.steps
    ]
    created = [Outcome("ldg", None, "APPLIED")]
    seen = [Seen("a refund", "APPLIED", "APPLIED", {"Ada": 5}, {"Ada": 5}, records=2)]
    records = len(created) + sum(step.records for step in story.steps) + 2
    references = dict.fromkeys(repeated_references(story.steps), 1)
    sums = [
        Sums("EUR", 100, balances=2, credits=7, debits=7, inflight_credits=3, inflight_debits=3)
    ]
    kill = Kill(pid=1, sent=100, without_outcome=5, replaced_by=[2])
    figures, verified = story.tally.figures(), VerifyReport(records=records)
    return Found(created, outcomes, seen, figures, sums, references, verified, kill)


def test_the_smallest_story_has_every_kind(story: Story) -> None:
    """However few are sent, each kind of request and of rejection is among them."""
    kinds = {step.request.kind for step in story.steps}
    assert kinds == {Kind.TRANSACTION, Kind.COMMIT, Kind.VOID, Kind.BULK, Kind.REFUND}
    assert {step.kind for step in story.steps} >= {"bulk with a fault", "refund again", "overdraft"}


def wrong_claims(story: Story, found: Found) -> list[str]:
    return [c.claim for c in judge(story.steps, story.tally.figures(), found) if not c.ok]


def test_nothing_is_wrong_when_nothing_is(story: Story) -> None:
    """All checks pass on what the story expects."""
    assert wrong_claims(story, all_right(story)) == []


def without_an_outcome(found: Found) -> dict[str, Any]:
    return {"outcomes": [None, *found.outcomes[1:]]}


def with_a_wrong_rejection(found: Found) -> dict[str, Any]:
    assert found.outcomes[0] is not None
    wrong = replace(found.outcomes[0], status="REJECTED", reason="insufficient_funds")
    return {"outcomes": [wrong, *found.outcomes[1:]]}


def with_an_unnoticed_repetition(found: Found) -> dict[str, Any]:
    outcomes = [o and replace(o, duplicate=False) for o in found.outcomes]
    return {"outcomes": outcomes}


def with_a_wrong_figure(found: Found) -> dict[str, Any]:
    balance_id, figures = next(iter(found.figures.items()))
    return {"figures": {**found.figures, balance_id: Figures(figures.balance + 1, *figures[1:])}}


def without_a_balance(found: Found) -> dict[str, Any]:
    return {"figures": dict(list(found.figures.items())[1:])}


def with_a_broken_promise(found: Found) -> dict[str, Any]:
    return {"seen": [replace(found.seen[0], shown="REJECTED already_refunded")]}


def with_a_misfigured_scene(found: Found) -> dict[str, Any]:
    return {"seen": [replace(found.seen[0], figures={"Ada": 6})]}


def with_money_from_nowhere(found: Found) -> dict[str, Any]:
    return {"sums": [replace(found.sums[0], credits=8)]}


def with_half_a_hold(found: Found) -> dict[str, Any]:
    return {"sums": [replace(found.sums[0], inflight_debits=4)]}


def with_a_second_posting(found: Found) -> dict[str, Any]:
    return {"records_of": dict.fromkeys(found.records_of, 2)}


def with_a_lost_record(found: Found) -> dict[str, Any]:
    return {"verified": replace(found.verified, records=found.verified.records - 1)}


def with_a_broken_chain(found: Found) -> dict[str, Any]:
    broken = [Violation("chain_broken", "partition 0", "no")]
    codes = {"chain_broken": 1}
    return {"verified": replace(found.verified, violations=broken, violations_by_code=codes)}


@pytest.mark.parametrize(
    ("spoil", "claim"),
    [
        (without_an_outcome, "every request has an outcome"),
        (with_a_wrong_rejection, "outcomes and rejections are the expected ones"),
        (with_an_unnoticed_repetition, "outcomes and rejections are the expected ones"),
        (with_a_wrong_figure, "every balance is what the plain tally says"),
        (without_a_balance, "every balance is what the plain tally says"),
        (with_a_second_posting, "what was sent twice was posted once"),
        (with_a_lost_record, "the journal has a record for each request and part"),
        (with_a_broken_promise, "every scene came out as promised"),
        (with_a_misfigured_scene, "every scene left, or foretold, the right figures"),
        (with_money_from_nowhere, "money sums to zero in every currency"),
        (with_half_a_hold, "money sums to zero in every currency"),
        (with_a_broken_chain, "verify: chain, numbering, balances, holds, sums"),
        (lambda _: {"created": [None]}, "the ledger and its balances were created"),
        (lambda _: {"kill": Kill(1, 100, 5)}, "the killed worker was replaced"),
    ],
)
def test_each_check_can_fail(
    story: Story, spoil: Callable[[Found], dict[str, Any]], claim: str
) -> None:
    """A single wrong figure, outcome or record is reported by the check that is for it."""
    found = all_right(story)
    assert wrong_claims(story, replace(found, **spoil(found))) == [claim]


@pytest.mark.parametrize("is_right", [True, False])
def test_a_person_sees_the_scenes_and_what_is_wrong(
    story: Story, capsys: pytest.CaptureFixture[str], is_right: bool
) -> None:
    """Each scene and each claim is shown, and what breaks a claim stands below it."""
    found = all_right(story)
    if not is_right:
        found = replace(found, **with_a_misfigured_scene(found))
    steps, figures = story.steps, story.tally.figures()
    print_result(
        Result(
            len(steps),
            2.0,
            count_outcomes(found.outcomes),
            found.seen,
            found.sums,
            found.kill,
            found.verified,
            judge(steps, figures, found),
        )
    )
    shown = capsys.readouterr().out
    assert ("NOT right" in shown, "All is right." in shown) == (not is_right, is_right)
    assert ("a refund: Ada has 6, not 5" in shown) == (not is_right)
    assert ("0.05" in shown, "0.06" in shown) == (is_right, not is_right)
    assert shown.count("right  ") == (11 if is_right else 10)
    assert all(claim in shown for claim in ("money sums to zero", "already_refunded", "EUR"))
