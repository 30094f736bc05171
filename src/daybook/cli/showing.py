"""What commands that show things share: how many, since when, and amounts as people write them."""

from __future__ import annotations

import unicodedata
from datetime import UTC, date, datetime, time
from typing import Annotated, Any

import typer

from daybook.cli.output import to_json
from daybook.ledger.money import amount_text

LIMIT_MAX = 10_000
Limit = Annotated[int, typer.Option(min=1, max=LIMIT_MAX, help="Most rows that are shown.")]
NAME_SHOWN_MAX = 64
"""Characters of a name that may stand in place of an id of 40."""
_NAMES = ("indicator", "external_id")
ID_PREFIXES = ("bln_", "ldg_", "txn_", "bulk_", "idt_", "general_ledger_id")
"""How ids begin: nobody else's text that begins so stands where an id or a name is shown."""
FIXED_PLACES = {10: 1, 100: 2, 1_000: 3, 10_000: 4}
"""Decimal places that tables fill up with zeros, by precision."""


def major(figure: int | None, precision: int | None) -> str | None:
    """A figure in major units; cents and the like keep their zeros. None stays None."""
    if figure is None:
        return None
    text = amount_text(figure, precision or 1)
    places = FIXED_PLACES.get(precision or 1)
    if places is None:
        return text
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction:0<{places}}"


def status_of(view: Any) -> str:
    """The status of a record with its reason; of a hold, what became of it."""
    hold = getattr(view, "hold", None)
    more = view.reason or (hold and _what_became_of(hold, view.precision))
    return f"{view.status} {more}" if more else str(view.status)


def _what_became_of(hold: Any, precision: int | None) -> str | None:
    """Nothing yet, so much is left, or it is over: in full, or with so much of it committed."""
    if hold.remaining == hold.amount:
        return None
    if hold.remaining:
        return f"{major(hold.remaining, precision)} left"
    if not hold.committed:
        return "voided"
    return f"{major(hold.committed, precision)} committed" if hold.voided else "committed"


def side_of(view: Any, side: str) -> str | None:
    """What a person calls one side of a record: ``@Name``, its external_id, or its id."""
    indicator, external_id = (getattr(view, f"{side}_{name}") for name in _NAMES)
    given: str | None = getattr(view, side)
    return indicator or shown_name(external_id) or given


def shown_name(chosen: Any) -> str | None:
    """An external_id, or the name of a ledger, as a table shows it in place of an id.

    Anyone who creates a thing chooses it, so one that reads as another kind of name is no name: no
    command would take it for one either.
    """
    text = "" if chosen is None else str(chosen)
    is_shown = text.strip() and len(text) <= NAME_SHOWN_MAX and not _reads_as_another(text)
    return text if is_shown else None


def _reads_as_another(text: str) -> bool:
    """Whether it looks as an ``@Name`` or an id does, in whatever width, style and case."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return plain.lstrip().startswith(("@", *ID_PREFIXES))


def checked_identity(given: str | None) -> str | None:
    """An id that ``--identity`` gives. What is no id would find nothing."""
    from daybook.requests.bounds import IDENTITY_ID

    if given is not None and not IDENTITY_ID.match(given):
        raise typer.BadParameter(f"--identity: {given} is no id like idt_<uuid>")
    return given


def moment_of(given: str | None, option: str) -> datetime | None:
    """The moment that an option gives; without a zone it is UTC."""
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{option}: {given} is not a date like 2026-04-22") from None


def end_of(given: str | None, option: str) -> datetime | None:
    """The moment that an option gives as an end; a day without a time means its last instant."""
    if given is not None:
        try:
            return datetime.combine(date.fromisoformat(given), time.max, UTC)
        except ValueError:
            pass  # it has a time, or is no date
    return moment_of(given, option)


def say_more(shown: int, limit: int, last: str) -> None:
    """Say how a list goes on when it may."""
    if shown == limit:
        typer.echo(f"There may be more: --after {to_json(last)}", err=True)
