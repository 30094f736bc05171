"""Whether the servers are there, and hold what this version needs."""

from __future__ import annotations

from daybook.counting import counted
from daybook.errors import LogRefused
from daybook.installation.migrate import check_revision
from daybook.monitoring.health.checks import Asked, Finding, inspection
from daybook.store.engine import translated_faults
from daybook.store.epochs import installation_id


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


def judge_installation(asked: Asked) -> Finding:
    """The log is that of the database, and not another installation's."""
    with translated_faults(), asked.engine.connect() as connection:
        asked.log.installation_id = installation_id(connection)
    try:
        asked.log.check_installation()
    except LogRefused as fault:
        return Finding("failed", str(fault))
    return Finding("ok", "log and database belong together")


SERVERS = (
    inspection("log", judge_log, "log"),
    inspection("database", judge_database, "database"),
    inspection("schema", judge_schema, "database"),
    inspection("installation", judge_installation, "log", "database"),
)
