"""The checks of ``daybook health``: one line each, and what is wrong.

A family of checks has a file of its own, which ends with the list of them. A new one is a function
that judges, and a line there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from daybook.errors import ConfigError
from daybook.monitoring.health.checks import Check, Inspection, State, inspect, inspecting
from daybook.monitoring.health.clocks import CLOCKS
from daybook.monitoring.health.dates import DATES
from daybook.monitoring.health.instance import INSTANCE
from daybook.monitoring.health.postgres_safety import POSTGRES_SAFETY
from daybook.monitoring.health.redis_safety import REDIS_SAFETY
from daybook.monitoring.health.servers import SERVERS
from daybook.monitoring.health.strangers import STRANGERS
from daybook.monitoring.health.work import WORK
from daybook.settings import Settings

SAFETY: tuple[Inspection, ...] = (*REDIS_SAFETY, *POSTGRES_SAFETY, *CLOCKS)
"""Whether these servers are fit to keep money on: a worker tells of it when it starts."""

CHECKS: tuple[Inspection, ...] = (*SERVERS, *SAFETY, *DATES, *WORK, *STRANGERS, *INSTANCE)
"""In the order in which they are shown."""

NAMES = tuple(check.name for check in CHECKS)


def examine(
    settings: Settings,
    *,
    stall_seconds_max: float,
    only: Collection[str] = (),
    skip: Collection[str] = (),
) -> Iterator[Check]:
    """Run the checks, one after the other; a failed one does not keep the next from running.

    only, skip: names of checks; every one when none is given. Raises ConfigError, also for a name
    that there is not.
    """
    if unknown := sorted({*only, *skip} - set(NAMES)):
        raise ConfigError(
            f"there is no check named {', '.join(unknown)}: choose from {', '.join(NAMES)}"
        )
    with inspecting(settings, stall_seconds_max) as asked:
        for each in CHECKS:
            if each.name not in skip and (not only or each.name in only):
                yield inspect(asked, each)


__all__ = ["CHECKS", "NAMES", "SAFETY", "Check", "Inspection", "State", "examine"]
