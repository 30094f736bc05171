"""What to do next about an error, where its message does not say it itself."""

from __future__ import annotations

from daybook.errors import (
    DaybookError,
    LogFull,
    LogNotInstalled,
    LogRefused,
    LogUnavailable,
    SchemaOutdated,
    StoreRefused,
    StoreUnavailable,
)

_REDIS = "DAYBOOK_REDIS_URL"
_POSTGRES = "DAYBOOK_DATABASE_URL (of an owner's command DAYBOOK_MIGRATION_DATABASE_URL)"
_MEND = "mend the user, the password or the database in {}, or the rights of that user"
_REACH = "is it running, and are host and port in {} right? `daybook up --detach` starts one"
_STEPS: tuple[tuple[type[DaybookError], str], ...] = (
    (LogNotInstalled, ""),
    (LogRefused, _MEND.format(_REDIS)),
    (LogUnavailable, _REACH.format(_REDIS)),
    (LogFull, "see how far the workers are with `daybook status`"),
    (SchemaOutdated, ""),
    (StoreRefused, _MEND.format(_POSTGRES)),
    (StoreUnavailable, _REACH.format(_POSTGRES)),
)


def next_step(error: DaybookError) -> str:
    """The next step, naming the setting; empty when the message says it."""
    if isinstance(error, StoreRefused) and error.mend:
        return f"{error.mend}, in {_POSTGRES}"
    return next((step for kind, step in _STEPS if isinstance(error, kind)), "")


def told(error: DaybookError) -> list[str]:
    """The error and the next step, a line each."""
    step = next_step(error)
    return [f"error: {error}", *([f"next: {step}"] if step else [])]
