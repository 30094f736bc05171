"""Whether the parts of an instance of ``daybook up`` stay up."""

from __future__ import annotations

from daybook.instance import failing_parts
from daybook.monitoring.health.checks import Asked, Finding, inspection


def judge_parts(asked: Asked) -> Finding:
    """Every part of the instance stays up, where one runs."""
    failing = failing_parts(asked.settings.home)
    if not failing:
        return Finding("ok", "no part of `daybook up` fails")
    return Finding("failed", "; ".join(map(str, failing)))


INSTANCE = (inspection("parts", judge_parts),)
