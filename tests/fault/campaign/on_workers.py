"""Faults of workers: killed, stopped, paused, doubled."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import psutil

from daybook.steps import Point
from tests.fault.campaign.kinds import Kind, Part, add
from tests.fault.campaign.stage import WORKERS, Stage
from tests.harness import wait_until

TIMES = 4
OUTLASTING_SECONDS = 4.0
"""Longer than every time-out of a worker's session."""
WARM_SECONDS_MAX = 60.0
TAKES = frozenset({Part.WORKERS})


def kill_children(stage: Stage) -> None:
    for _ in range(TIMES):
        stage.await_progress(5)
        for child in stage.children(stage.random.randrange(WORKERS)):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    stage.over()


def kill_workers(stage: Stage) -> None:
    """The new one starts at once, as a supervisor would have it."""
    for _ in range(TIMES):
        stage.await_progress(5)
        stage.over()
        stage.workers.replace(stage.random.randrange(WORKERS))


def kill_parents(stage: Stage) -> None:
    for index in range(WORKERS):
        stage.await_progress(5)
        orphans = stage.children(index)
        stage.over()
        os.kill(stage.workers.processes[index].pid, signal.SIGKILL)
        stage.workers.add()
        psutil.wait_procs(orphans, WARM_SECONDS_MAX)
        stage.workers.processes[index].wait()


def kill_all(stage: Stage) -> None:
    for index in range(WORKERS):
        stage.workers.kill(index)
    time.sleep(2)
    for _ in range(WORKERS):
        stage.workers.add()
    stage.over()


def end_warmly(stage: Stage) -> None:
    for index in range(WORKERS):
        stage.await_progress(5)
        stage.workers.processes[index].send_signal(signal.SIGTERM)
        stage.workers.add()
        stage.workers.processes[index].wait(WARM_SECONDS_MAX)
    stage.over()


def end_coldly(stage: Stage) -> None:
    for index in range(WORKERS):
        stage.await_progress(5)
        stage.workers.processes[index].send_signal(signal.SIGQUIT)
        stage.workers.add()
        stage.workers.processes[index].wait(WARM_SECONDS_MAX)
    stage.over()


def pause_at(point: Point) -> None:
    def act(stage: Stage) -> None:
        pid = stage.reach(point, signal.SIGSTOP)
        time.sleep(OUTLASTING_SECONDS)
        stage.await_progress(5)
        os.kill(pid, signal.SIGCONT)

    add(
        Kind(
            f"worker-paused-at-{point}",
            f"a worker stops at `{point}` for longer than every time-out, then goes on",
            act,
            takes=TAKES,
        )
    )


def pause_whole(stage: Stage) -> None:
    group = stage.workers.processes[0].pid
    os.killpg(group, signal.SIGSTOP)
    time.sleep(OUTLASTING_SECONDS)
    stage.await_progress(5)
    os.killpg(group, signal.SIGCONT)


def pause_all(stage: Stage) -> None:
    for process in stage.workers.processes:
        os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(OUTLASTING_SECONDS)
    for process in stage.workers.processes:
        os.killpg(process.pid, signal.SIGCONT)


def double(stage: Stage) -> None:
    for _ in range(2):
        stage.workers.add("-Q", "daybook.partition.0,daybook.partition.1", "-c", "3")
    wait_until(lambda: stage.workers.log().count(" ready.") >= WORKERS + 2, "all four are ready")
    stage.await_progress(80)


add(
    Kind(
        "pool-child-killed",
        "`kill -9` of a pool's child, again and again",
        kill_children,
        takes=TAKES,
    )
)
add(
    Kind(
        "worker-killed",
        "`kill -9` of a worker with its pool",
        kill_workers,
        short=True,
        takes=TAKES,
    )
)
add(Kind("worker-parent-killed", "`kill -9` of a worker's parent alone", kill_parents, takes=TAKES))
add(
    Kind(
        "workers-all-killed", "`kill -9` of all workers; new ones come later", kill_all, takes=TAKES
    )
)
add(Kind("worker-ended-warmly", "SIGTERM in the middle of a batch", end_warmly, takes=TAKES))
add(Kind("worker-ended-coldly", "SIGQUIT in the middle of a batch", end_coldly, takes=TAKES))
for each in (Point.LOCKED, Point.DECIDED, Point.BALANCES_WRITTEN, Point.COMMITTED):
    pause_at(each)
add(
    Kind(
        "worker-paused", "SIGSTOP of a worker with its pool, then SIGCONT", pause_whole, takes=TAKES
    )
)
add(Kind("workers-all-paused", "SIGSTOP of all workers, then SIGCONT", pause_all, takes=TAKES))
add(Kind("workers-doubled", "four workers are given the same partitions", double, takes=TAKES))
