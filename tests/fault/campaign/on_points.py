"""A worker's process dies at a named point of its work: each point is a kind."""

from __future__ import annotations

from daybook.steps import Point
from tests.fault.campaign.kinds import Kind, Part, add
from tests.fault.campaign.stage import Stage
from tests.fault.dying import POINTS, SWEEPER_POINTS

TIMES = 2
SWEPT = [Point.TRIMMED, *SWEEPER_POINTS]


def die_at(point: Point) -> None:
    def act(stage: Stage) -> None:
        for _ in range(TIMES):
            stage.await_progress(stage.random.randint(1, 20))
            stage.reach(point)
        stage.over()

    who = "the sweeper" if point in SWEPT else "a worker"
    what = f"{who} kills itself at `{point}`"
    add(Kind(f"dies-at-{point}", what, act, takes=frozenset({Part.WORKERS})))


for each in (*POINTS, *SWEPT):
    die_at(each)
