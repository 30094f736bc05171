"""By what a request is known: its reference or its id."""

from __future__ import annotations

from typing import NamedTuple

from daybook.errors import NotFound
from daybook.queue.entries import key_of_request


class Name(NamedTuple):
    """What a caller remembers of a request: its reference, or its id. Never both, never neither."""

    reference: str | None = None
    id: str | None = None

    @property
    def key(self) -> str:
        """The outcome key that it is looked up by first."""
        return key_of_request(self.reference, self.id or "")

    def __str__(self) -> str:
        return f"reference {self.reference!r}" if self.id is None else f"id {self.id!r}"


def name_of(reference: str | None, id: str | None) -> Name:
    """The name that a caller gave. Raises TypeError unless it is one of the two, and text."""
    given = [one for one in (reference, id) if one is not None]
    if len(given) != 1 or not isinstance(given[0], str):
        raise TypeError("say what it is: give reference=… or id=…, one of them")
    return Name(reference, id)


def not_in_log(name: Name) -> NotFound:
    """The fault of a look-up that the log can't answer."""
    option = "--reference" if name.id is None else "--id"
    return NotFound(
        f"the log knows nothing of the {name} (any more): look into the ledger with "
        f"`daybook transaction {option} {name.reference or name.id}`"
    )
