"""Whether somebody else wrote into Redis."""

from __future__ import annotations

from daybook.errors import ConfigError
from daybook.monitoring.health.checks import Asked, Finding, inspection
from daybook.monitoring.inspection import log_faults
from daybook.queue.mending import LogFault
from daybook.store.engine import translated_faults
from daybook.store.epochs import newest_epoch
from daybook.store.read.snapshots import newest_position

TOLD_MAX = 5
"""So many faults are named; the others are counted."""

_WORDS = {
    "clock": "the clock is none",
    "clock_behind": "the clock is behind Postgres",
    "future": "an entry has an id in the future",
    "last_id": "the last id lies in the future",
    "mark": "a mark of a large entry lies in the future",
    "aside": "entries wait for a new id",
    "bell": "a doorbell rings for ever",
    "type": "the key has another type",
    "state": "the state can't be read",
    "field": "a field can't be read",
}


def judge_strangers(asked: Asked) -> Finding:
    """Redis holds nothing that Daybook can't have written and that the sweeper does not repair.

    Raises StoreUnavailable, LogUnavailable, ConfigError before anything is installed.
    """
    with translated_faults(), asked.engine.connect() as connection:
        epoch = newest_epoch(connection)
        newest = newest_position(connection)
    if epoch is None:
        raise ConfigError("nothing is installed in this database: run `daybook migrate`")
    found = log_faults(asked.log, epoch.partitions, newest)
    if not found:
        return Finding("ok", "nothing in the log but what Daybook wrote")
    told = [_told(fault) for fault in found[:TOLD_MAX]]
    if len(found) > TOLD_MAX:
        told.append(f"and {len(found) - TOLD_MAX} more")
    return Finding("failed", "; ".join(told) + ": workers and beat must run to repair it")


def _told(fault: LogFault) -> str:
    return f"{fault.name}: {_WORDS[fault.kind]} ({fault.shown})"


STRANGERS = (inspection("strangers", judge_strangers, "log", "database"),)
