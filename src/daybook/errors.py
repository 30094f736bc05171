"""Everything that Daybook raises.

::

    DaybookError
    ├── ConfigError            a setting is missing or contradictory
    │   └── ExtraMissing       a part of Daybook is used that is not installed
    ├── MalformedRequest       a request breaks a rule that can be checked where it is handed in
    ├── ReferenceConflict      the reference was used before by a different request
    ├── LogUnavailable         Redis cannot be reached, or did not answer in time
    │   ├── LogNotInstalled    Redis answers, but holds no log (empty or replaced)
    │   └── LogRefused         Redis answers, and refuses: a password, a right, a certificate
    ├── LogFull                the log is at its bound; what was accepted is untouched
    ├── StoreUnavailable       Postgres cannot be reached, or a unit of work failed permanently
    │   ├── StoreRefused       Postgres answers, and refuses: a user, a password, a right
    │   └── SchemaOutdated     the database has not been migrated to this version
    ├── NotFound               what was asked for does not exist
    ├── RevokeRefused          a request that was accepted can't be revoked (any more)
    ├── WrongEventLoop         a client of asyncio is used from another event loop than its own
    └── OutcomeUnknown         the wait timed out: the request may still be posted

A *rejection* by the ledger (insufficient funds, an unknown balance, …) is not an error: it is an
outcome, and comes back as a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class DaybookError(Exception):
    """The root of every exception that Daybook raises on purpose."""


class ConfigError(DaybookError):
    """A setting is missing, unusable, or contradicts another one."""


class ExtraMissing(ConfigError, ImportError):  # noqa: N818 - states the fact
    """A part of Daybook is used whose packages are not installed: the message has the command.

    extra: its name in ``pip install 'daybook[…]'``. modules: those that can't be imported.
    """

    def __init__(self, extra: str, modules: Sequence[str]) -> None:
        self.extra = extra
        self.modules = tuple(modules)
        super().__init__(f"{', '.join(modules)} not installed: run pip install 'daybook[{extra}]'")

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.extra, self.modules))


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong with one field of a request.

    field: path of the field, e.g. ``amount`` or ``[3].meta_data.note``.
    code: the stable rejection code that the ledger would give (``malformed``, ``invalid_amount``…).
    message: what is wrong and how to mend it.
    """

    field: str
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


ERRORS_SHOWN_MAX = 20
"""So many of the errors of a request, or of many requests, a message tells."""


class MalformedRequest(DaybookError):  # noqa: N818 - a request, not an error, is malformed
    """A request was refused where it was handed in; nothing reached the log.

    errors: every violation found, field by field; the message tells the first of them.
    code: the rejection code that takes precedence among them.
    """

    def __init__(self, errors: Sequence[FieldError] | str, code: str = "malformed") -> None:
        # A Celery result keeps the message alone, and makes the exception from it again.
        self.errors = () if isinstance(errors, str) else tuple(errors)
        self.code = code
        super().__init__(errors if isinstance(errors, str) else "; ".join(self.lines()))

    def lines(self) -> list[str]:
        """What is wrong, as a message tells it: the first errors, and how many more there are."""
        shown = [str(error) for error in self.errors[:ERRORS_SHOWN_MAX]] or list(self.args)
        more = len(self.errors) - ERRORS_SHOWN_MAX
        return [*shown, f"and {more:,} more"] if more > 0 else shown

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.errors or str(self), self.code))


class ReferenceConflict(DaybookError):  # noqa: N818 - named after the rejection code
    """The reference belongs to another request, recorded or queued.

    reference: the reference that was sent.
    original_id: the transaction that owns the reference.
    fields: names of the fields that differ; empty when the original is no longer in the log.
    """

    def __init__(self, reference: str, original_id: str = "", fields: Sequence[str] = ()) -> None:
        self.reference = reference
        self.original_id = original_id
        self.fields = tuple(fields)
        if not original_id:  # a Celery result keeps the message alone
            super().__init__(reference)
            return
        differs = f" (differs in {', '.join(self.fields)})" if self.fields else ""
        super().__init__(
            f"reference {reference!r} is already used by {original_id}{differs}: "
            "send the original request again, or choose another reference"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.reference, self.original_id, self.fields))


class LogUnavailable(DaybookError):  # noqa: N818 - states the fact
    """Redis cannot be reached or did not answer: whether the request was accepted is unknown.

    Sending the same request with the same reference again is safe.
    """


class LogNotInstalled(LogUnavailable):
    """Redis answers but holds no request log: run ``daybook migrate``, or start a worker."""


class LogRefused(LogUnavailable):
    """Redis answers and refuses: the password, a right of the user, or the certificate is wrong.

    Sending the same again is safe, and of no use before that is mended.
    """


class LogFull(DaybookError):  # noqa: N818 - states the fact
    """The log is at its configured length or memory: try again later; nothing was lost.

    accepted: receipts of the requests of the same call that were accepted before the bound.
    retry_after_seconds: how long to wait before trying again.
    """

    def __init__(
        self, message: str, accepted: Sequence[Any] = (), retry_after_seconds: float = 1.0
    ) -> None:
        self.accepted = tuple(accepted)
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class StoreUnavailable(DaybookError):  # noqa: N818 - states the fact
    """Postgres cannot be reached, or kept refusing a unit of work; nothing of it was written."""


class StoreRefused(StoreUnavailable):
    """Postgres answers and refuses: the user, the password, the database's name, or a right; or
    the address asks for what this server has not.

    Trying again is of no use before that is mended. mend: what to change in the address, where
    it is known.
    """

    def __init__(self, message: str, mend: str = "") -> None:
        self.mend = mend
        super().__init__(message)


class SchemaOutdated(StoreUnavailable):
    """The database has no Daybook schema, or an older one: run ``daybook migrate``."""


class NotFound(DaybookError):  # noqa: N818 - states the fact
    """The ledger, balance, transaction or instance that was asked for does not exist."""


class RevokeRefused(DaybookError):  # noqa: N818 - states the fact
    """A request that was accepted can't be revoked, or no more: the message says what can be done.

    Only what waits for its time (``scheduled_for``, ``eta``, ``countdown``) can be withdrawn.
    """


class WrongEventLoop(DaybookError):  # noqa: N818 - states the fact
    """An ``AsyncClient`` is used from another event loop than its first. Nothing was sent.

    Its connections belong to the first loop: make a client in each loop, or use ``Client``.
    """


class OutcomeUnknown(DaybookError, TimeoutError):  # noqa: N818 - states the fact
    """The wait timed out before an outcome was recorded.

    It does not say that the request failed: it is in the log and will reach an outcome. Wait
    again, or send the same request with the same reference again: both are safe.
    """
