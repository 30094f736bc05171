"""Workers and a database of different versions side by side, as while an upgrade rolls out."""

from __future__ import annotations

from daybook.installation.migrate import NEWEST_REVISION
from tests.fault.campaign.kinds import ASKS_POSTGRES, Kind, Part, add
from tests.fault.campaign.stage import Stage

STARTED_SECONDS_MAX = 60.0
NEWER = "9999"
TAKES = frozenset({Part.WORKERS, Part.SCHEMA})


def database_is_older(stage: Stage) -> None:
    """A new worker refuses to start before the migration; after it, one starts and works."""
    _stamp(stage, None)
    refused = stage.workers.add()
    assert refused.wait(STARTED_SECONDS_MAX) != 0
    assert "run `daybook migrate`" in stage.workers.log()
    _stamp(stage, NEWEST_REVISION)
    _replace_all(stage)


def database_is_newer(stage: Stage) -> None:
    """Workers of this version go on beside those of the next; one more may start."""
    _stamp(stage, NEWER)
    _replace_all(stage)
    stage.await_progress(50)
    _stamp(stage, NEWEST_REVISION)


def _stamp(stage: Stage, revision: str | None) -> None:
    """Say that the schema is of this revision; None: from before the first."""
    stage.rows("DELETE FROM alembic_version")
    if revision is not None:
        stage.rows(f"INSERT INTO alembic_version (version_num) VALUES ('{revision}')")


def _replace_all(stage: Stage) -> None:
    """Only workers that start now do the rest of the work."""
    old = len(stage.workers.processes)
    stage.workers.add()
    stage.workers.add()
    for index in range(old):
        stage.workers.kill(index)


add(
    Kind(
        "database-older",
        "a worker of a newer version starts before `daybook migrate`",
        database_is_older,
        takes=TAKES,
        needs=ASKS_POSTGRES,
    )
)
add(
    Kind(
        "database-newer",
        "workers go on behind a migration of a newer version",
        database_is_newer,
        takes=TAKES,
        needs=ASKS_POSTGRES,
    )
)
