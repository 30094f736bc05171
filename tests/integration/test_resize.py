"""Another number of partitions: what was there goes on, and what comes next lies elsewhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from tests.fault.proof import assert_proved
from tests.fault.requests import deposit, make_balances, move
from tests.fault.sweeping import decide_all, drain_due
from tests.harness import Installation, wait_until
from tests.traffic.mix import mixed

from daybook.apply.epochs import advance
from daybook.errors import ReferenceConflict
from daybook.installation.resize import begin, open_before
from daybook.queue.announcements import announce, announced
from daybook.queue.doorbell import INTAKE_QUEUE, queue_of
from daybook.store.epochs import StoredEpoch, newest_epoch
from daybook.store.proof.verify import verify
from daybook.store.read.queries import list_partitions, reading
from daybook.store.read.snapshots import take_snapshot
from daybook.store.transfer.exporting import export_ledger

Install = Callable[[int], Installation]


def resize(installation: Installation, number: int) -> None:
    """Change the number and let workers follow, in this process."""
    begin(installation.engine, installation.log, number)
    installation.drain()
    advance(installation.store, installation.log)
    assert stored(installation)[1] == number


def stored(installation: Installation) -> StoredEpoch:
    """The epoch that workers decide in: number, partitions, fence."""
    with installation.engine.connect() as connection:
        found = newest_epoch(connection)
    assert found is not None
    return found


def open_rows(installation: Installation) -> list[int]:
    with reading(installation.engine) as connection:
        return [v.partition for v in list_partitions(connection) if not v.is_closed]


def test_the_number_goes_up_and_down_with_everything_in_between(install_daybook: Install) -> None:
    """From 2 to 4 to 1 to 3 over requests of every kind; proved at each number."""
    installation = install_daybook(2)
    balances, receipts = make_balances(installation, 12, seed=5)
    requests = mixed(Random(5), balances, 160, "m")
    for step, number in enumerate((4, 1, 3)):
        part = requests[step * 40 : (step + 1) * 40]
        receipts += installation.client.enqueue_many(part[:20])
        drain_due(installation)
        receipts += installation.client.enqueue_many(part[20:])  # a backlog
        resize(installation, number)
        assert open_rows(installation) == list(range(number))
        assert_proved(installation, drained=False)
    receipts += installation.client.enqueue_many(requests[120:])
    decide_all(installation)
    assert {o and o.final for o in installation.client.wait_many(receipts, 5)} == {True}
    assert_proved(installation)
    used = installation.rows("SELECT DISTINCT partition FROM transactions ORDER BY 1")
    assert used == [(0,), (1,), (2,), (3,)]


def test_what_was_made_before_is_acted_on_after(installation: Installation) -> None:
    """Holds are committed and voided, transactions refunded, schedules fall due, in order."""
    client = installation.client
    balances, _ = make_balances(installation, 4)
    client.enqueue_many([deposit(f"in-{b}", b, 1_000) for b in balances])
    holds = [client.enqueue(move(f"hold-{b}", b, "@Shop", 100, inflight=True)) for b in balances]
    paid = [client.enqueue(move(f"paid-{b}", b, "@Shop", 10)) for b in balances]
    soon = datetime.now(UTC) + timedelta(seconds=1)
    later = [
        client.enqueue(move(f"later-{b}", b, "@Shop", 5, scheduled_for=soon)) for b in balances
    ]
    dated = client.enqueue(
        move("dated", balances[0], "@Shop", 7, inflight=True, inflight_expiry_date=soon)
    )
    installation.drain()
    before = datetime.now(UTC)
    resize(installation, 5)
    done = [client.commit(hold.id, precise_amount=60) for hold in holds]
    done += [client.refund(each.id) for each in paid]
    done += [client.void(hold.id) for hold in holds]
    decide_all(installation)
    outcomes = [o and o.status for o in client.wait_many(done, 5)]
    assert outcomes == ["APPLIED"] * 8 + ["VOID"] * 4
    assert {client.status(reference=f"later-{b}").status for b in balances} == {"APPLIED"}
    assert installation.rows("SELECT amount - committed - voided FROM holds") == [(0,)] * 5
    assert len(later) == 4
    assert dated.wait(5).status == "INFLIGHT"
    at = installation.run("balance", balances[0], "--at", before.isoformat(), "--json")
    assert json.loads(at.stdout)["credit_balance"] == 1_000, at.stderr
    assert_proved(installation)


def test_references_are_known_across_a_resize(installation: Installation) -> None:
    """What was sent before is a duplicate, other content a conflict that names its fields."""
    (a,), _ = make_balances(installation, 1)
    first = installation.client.enqueue(deposit("in", a, 500))
    resize(installation, 7)
    again = installation.client.enqueue(deposit("in", a, 500))
    assert (again.state, again.id) == ("duplicate", first.id)
    with pytest.raises(ReferenceConflict, match="differs in precise_amount"):
        installation.client.enqueue(deposit("in", a, 501))


def test_nobody_is_refused_while_workers_catch_up(installation: Installation) -> None:
    """New requests are accepted at once, stay unread behind the fence, and are decided after it."""
    (a, b), _ = make_balances(installation, 2)
    old = installation.client.enqueue(deposit("old", a, 500))
    epoch = begin(installation.engine, installation.log, 4)
    new = installation.client.enqueue(move("new", a, b, 500))
    assert old.position is not None
    assert new.position is not None
    assert old.position <= epoch.fence < new.position
    assert open_before(installation.engine, installation.log) > 0
    assert not advance(installation.store, installation.log)
    assert stored(installation)[1] == 2
    installation.drain()
    assert stored(installation) == tuple(epoch)
    assert [r.wait(5).status for r in (old, new)] == ["APPLIED", "APPLIED"]
    assert_proved(installation)


def test_a_resize_is_taken_back_before_the_turn(installation: Installation) -> None:
    """Back to the number before: what was accepted in between is decided by the number it had."""
    balances, _ = make_balances(installation, 8)
    begin(installation.engine, installation.log, 5)
    installation.client.enqueue_many([deposit(f"in-{b}", b, 5) for b in balances])
    begin(installation.engine, installation.log, 2)
    installation.client.enqueue_many([move(f"out-{b}", b, "@Shop", 5) for b in balances])
    installation.drain()
    assert stored(installation)[:2] == (3, 2)
    assert installation.rows("SELECT DISTINCT status FROM transactions") == [("APPLIED",)]
    assert_proved(installation)


def test_a_closed_partition_is_still_proved(installation: Installation) -> None:
    """Its journal stays in the proof: an edit of it is found."""
    balances, _ = make_balances(installation, 8)
    installation.client.enqueue_many([deposit(f"in-{b}", b, 5) for b in balances])
    resize(installation, 1)
    assert len(verify(installation.owner).heads) == 2
    with installation.owner.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE transactions DISABLE TRIGGER ALL")
        connection.exec_driver_sql(
            "UPDATE transactions SET description = 'x' WHERE partition = 1 AND sequence = 1"
        )
    assert "chain_broken" in verify(installation.owner).violations_by_code


def test_an_export_knows_its_epochs(installation: Installation, install_daybook: Install) -> None:
    """It is imported with closed partitions, and the log there goes on by the right number."""
    balances, _ = make_balances(installation, 8)
    installation.client.enqueue_many([deposit(f"in-{b}", b, 5) for b in balances])
    resize(installation, 4)
    installation.client.enqueue_many([move(f"out-{b}", b, "@Shop", 1) for b in balances])
    resize(installation, 3)
    lines: list[bytes] = []
    export_ledger(installation.engine, lines.append)
    target = install_daybook(2)
    (file := target.folder / "ledger.ndjson").write_bytes(b"".join(lines))
    done = target.run("import", str(file))
    assert done.returncode == 0, done.stderr
    assert (target.log.partitions(), target.log.epochs.newest()) == (3, 3)
    assert stored(target) == stored(installation)
    target.client.enqueue_many([move(f"more-{b}", b, "@Shop", 1) for b in balances])
    target.drain()
    resize(target, 4)
    assert verify(target.owner).ok
    assert target.rows("SELECT DISTINCT status FROM transactions") == [("APPLIED",)]
    assert target.rows("SELECT count(*) FROM rejected_requests") == [(0,)]


def test_a_snapshot_waits_for_partitions_that_are_not_there_yet(installation: Installation) -> None:
    """While the turn is to come it reaches no further than the fence."""
    balances, _ = make_balances(installation, 8)
    installation.drain()
    fence = begin(installation.engine, installation.log, 8).fence
    installation.client.enqueue_many([deposit(f"in-{b}", b, 5) for b in balances])
    taken = take_snapshot(installation.engine, installation.log)
    assert taken is not None
    assert taken.position <= fence


@contextmanager
def running(installation: Installation, *words: str) -> Iterator[None]:
    """A process beside, ended with its block."""
    with (installation.folder / "worker.log").open("ab") as output:
        started = subprocess.Popen(
            [sys.executable, *words],
            env=installation.environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def test_workers_listen_to_partitions_that_are_new(installation: Installation) -> None:
    """One that has all queues takes new ones; so does one with -Q, when nobody else has them."""
    queues = ",".join([INTAKE_QUEUE, queue_of(0), queue_of(1)])
    worker = ["-m", "celery", "-A", "daybook.worker", "worker", "-c", "1"]
    new = {queue_of(2), queue_of(3)}

    def listened() -> set[str]:
        said = announced(installation.log).values()
        return {queue for each in said for queue in each.queues}

    with running(installation, *worker, "-n", "some@localhost", "-Q", queues):
        wait_until(lambda: queue_of(0) in listened(), "it is announced")
        done = installation.run("partitions", "resize", "4", "--yes", "--json")
        assert done.returncode == 0, done.stderr
        wait_until(lambda: new <= listened(), "it listens to them")
        receipts = installation.client.enqueue_many(
            [deposit(f"in-{i}", "@Till", 1) | {"ordering_key": str(i)} for i in range(40)]
        )
        outcomes = installation.client.wait_many(receipts, 60)
    assert {o and o.status for o in outcomes} == {"APPLIED"}
    assert [p for (p,) in installation.rows("SELECT DISTINCT partition FROM transactions")]
    assert_proved(installation)


def test_a_worker_with_queues_of_its_own_leaves_those_of_others(installation: Installation) -> None:
    """A new partition that somebody else has announced is not taken."""
    worker = ["-m", "celery", "-A", "daybook.worker", "worker", "-c", "1"]
    with running(installation, *worker, "-n", "one@localhost", "-Q", queue_of(0)):
        wait_until(lambda: announced(installation.log), "it is announced")
        announce(installation.log, "other@localhost", [queue_of(2)])
        installation.run("partitions", "resize", "4", "--yes")
        wait_until(
            lambda: queue_of(3) in announced(installation.log)["one@localhost"].queues, "it took 3"
        )
        assert queue_of(2) not in announced(installation.log)["one@localhost"].queues


# --- the command ----------------------------------------------------------------------------------


def test_the_command_shows_partitions_and_changes_their_number(installation: Installation) -> None:
    """It asks first, says how long requests waited, and shows closed partitions."""
    (a,), _ = make_balances(installation, 1)
    installation.client.enqueue(deposit("in", a, 5))
    installation.drain()
    asked = installation.run("partitions", "resize", "4")
    assert (asked.returncode, installation.log.partitions()) == (2, 2)
    assert "--yes" in asked.stderr
    done = installation.run("partitions", "resize", "4", "--yes")
    assert done.returncode == 0, done.stderr
    assert "4 partitions now, 2 before." in done.stdout
    again = installation.run("partitions", "resize", "4", "--json")
    assert (again.returncode, json.loads(again.stdout)["partitions"]) == (0, 4)
    assert installation.run("partitions", "resize", "1", "--yes").returncode == 0
    shown = json.loads(installation.run("partitions", "--json").stdout)
    assert (shown["partitions"], shown["decided_by"], shown["epoch"]) == (1, 1, 3)
    assert [row["is_closed"] for row in shown["rows"]] == [False, True, True, True]
    listed = installation.run("partitions").stdout
    assert listed.count("closed") == 3
    assert "No worker listens to 0" in listed
    assert installation.run("migrate").stdout.endswith("1 partition.\n")


def test_the_command_gives_up_and_goes_on_when_it_is_run_again(installation: Installation) -> None:
    """Without workers its patience ends with exit code 4; nothing is refused meanwhile."""
    (a,), _ = make_balances(installation, 1)
    late = installation.run("partitions", "resize", "3", "--yes", "--patience", "0.3")
    assert late.returncode == 4
    assert "older requests to decide" in late.stderr
    receipt = installation.client.enqueue(deposit("in", a, 5))
    shown = installation.run("partitions").stdout
    assert "workers still decide older ones by 2" in shown
    installation.drain(0, 1)
    followed = installation.run("partitions", "resize", "3", "--json")
    assert followed.returncode == 0, followed.stderr
    installation.drain()
    assert receipt.wait(5).status == "APPLIED"
