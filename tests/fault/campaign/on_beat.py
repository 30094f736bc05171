"""Faults of beat, which rings where nobody rang and asks for what is due."""

from __future__ import annotations

import time

from tests.fault.campaign.kinds import Kind, Part, add
from tests.fault.campaign.stage import Stage

ABSENT_SECONDS = 5.0
TAKES = frozenset({Part.BEAT})


def kill(stage: Stage) -> None:
    stage.workers.kill_beats()
    stage.workers.add_beat()


def take_away(stage: Stage) -> None:
    stage.workers.kill_beats()
    time.sleep(ABSENT_SECONDS)
    stage.await_progress(20)
    stage.workers.add_beat()


def double(stage: Stage) -> None:
    for _ in range(2):
        stage.workers.add_beat()
    time.sleep(ABSENT_SECONDS)
    stage.await_progress(100)


add(Kind("beat-killed", "`kill -9` of beat; a new one starts", kill, takes=TAKES))
add(Kind("beat-absent", "no beat for a while; what is due waits", take_away, takes=TAKES))
add(Kind("beat-doubled", "three beats instead of one, permanently", double, takes=TAKES))
