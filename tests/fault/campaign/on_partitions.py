"""Another number of partitions, while requests come and workers die."""

from __future__ import annotations

from tests.fault.campaign.kinds import ASKS_POSTGRES, Kind, Part, add
from tests.fault.campaign.stage import Stage
from tests.harness import COMMAND_SECONDS_MAX

NUMBERS = (4, 1, 3)
TAKES = frozenset({Part.NUMBER})
NEEDS = ASKS_POSTGRES | {Part.VALKEY, Part.LOG, Part.SCHEMA}


def resize(stage: Stage, *, kill: bool) -> None:
    """One number after the other, each while something is applied."""
    for number in NUMBERS:
        stage.await_progress(20)
        if kill:
            stage.workers.replace(stage.random.randrange(len(stage.workers.processes)))
        patience = ("--patience", str(COMMAND_SECONDS_MAX))
        done = stage.installation.run_long("partitions", "resize", str(number), "--yes", *patience)
        assert done.returncode == 0, done.stderr
    assert stage.rows("SELECT DISTINCT total FROM partitions") == [(NUMBERS[-1],)]


add(
    Kind(
        "partitions-changed",
        "two partitions become four, one and three",
        lambda stage: resize(stage, kill=False),
        takes=TAKES,
        needs=NEEDS,
    )
)
add(
    Kind(
        "partitions-changed-under-kills",
        "the same, with a worker killed and replaced before each",
        lambda stage: resize(stage, kill=True),
        takes=TAKES | {Part.WORKERS},
        needs=NEEDS,
    )
)
