"""Whether the servers are there, and hold what this version needs."""

from __future__ import annotations

from daybook.counting import counted
from daybook.installation.migrate import check_revision
from daybook.monitoring.health.checks import Asked, Finding, inspection
from daybook.store.engine import translated_faults


def judge_log(asked: Asked) -> Finding:
    """Redis answers, and holds a log."""
    return Finding("ok", counted(asked.log.partitions(), "partition"))


def judge_database(asked: Asked) -> Finding:
    """Postgres answers."""
    asked.row("SELECT 1")
    return Finding("ok", "answers")


def judge_schema(asked: Asked) -> Finding:
    """It has the tables of this version."""
    with translated_faults(), asked.engine.connect() as connection:
        check_revision(connection)
    return Finding("ok", "as this version needs it")


SERVERS = (
    inspection("log", judge_log, "log"),
    inspection("database", judge_database, "database"),
    inspection("schema", judge_schema, "database"),
)
