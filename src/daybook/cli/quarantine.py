"""``daybook quarantine``: what made the code raise, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daybook.cli.exits import Exit
from daybook.cli.output import AsJson, print_fields, print_json, print_table
from daybook.cli.sending import MadeBy, Wait, send
from daybook.cli.showing import Limit
from daybook.cli.wiring import current, open_log, open_reading
from daybook.errors import LogFull, NotFound
from daybook.ledger.instructions import DISCARDED, RETRIED
from daybook.ledger.rejection import Reason

if TYPE_CHECKING:
    from daybook.client.receipts import Receipt
    from daybook.queue.entries import NewEntry
    from daybook.store.read.views import QuarantineView

    Making = Callable[[str, int, bytes, int, str, str], list[NewEntry]]
    """What makes entries of what was quarantined: see ``daybook.client.quarantine``."""

NAME_HELP = "Its id, its reference, or its entry (PARTITION/POSITION) as `list` shows it."
Name = Annotated[str, typer.Argument(metavar="ID|REFERENCE", help=NAME_HELP)]
Why = Annotated[str, typer.Option(help="The reason, kept with it.")]


def list_open(
    everything: Annotated[
        bool, typer.Option("--all", help="Also what was retried or discarded.")
    ] = False,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List what is quarantined, newest first.

    Deciding one of these requests raised, or Postgres refused its data: a defect. Its partition
    went on. Mend the code, update the workers, then `retry` or `discard` each of them.
    """
    from daybook.store.read.quarantine import list_quarantined

    with open_reading() as connection:
        found = list_quarantined(connection, resolved=everything, limit=limit)
    if as_json:
        print_json([_shown(view) for view in found])
        return
    print_table(
        ("id", "reference", "kind", "entry", "accepted", "error", "state"),
        [
            (
                view.transaction_id,
                view.reference,
                view.kind,
                view.entry,
                view.accepted_at,
                view.error,
                view.state,
            )
            for view in found
        ],
        later=("id", "error"),
        empty="Nothing was ever quarantined." if everything else "Nothing is quarantined.",
    )


def show(name: Name, as_json: AsJson = False) -> None:
    """Show one: the request as it stood in the log, and the traceback."""
    view, _ = _found(name)
    if as_json:
        print_json(view.asdict())
        return
    print_fields({key: value for key, value in view.asdict().items() if key != "traceback"})
    typer.echo(f"\n{view.traceback or ''}".rstrip())


def retry(
    name: Name,
    by: MadeBy = None,
    why: Why = "",
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Send it again under its own id and reference, to be decided by the mended code.

    It takes its place behind everything accepted so far. Typed twice it is still posted once.
    What raises again is quarantined again.
    """
    from daybook.client.quarantine import retrying

    view, body = _found(name)
    if view.state == DISCARDED:
        raise _refused(f"{name} was discarded: send it under another reference instead")
    if view.reason == Reason.QUARANTINED:
        raise _refused(
            f"{name} was quarantined by an older version, which used up its reference permanently: "
            "send it under another one, and discard this"
        )
    send(lambda client: _append(client, view, body, retrying, by or "", why), wait, as_json)


def discard(
    name: Name,
    by: Annotated[str, typer.Option("--by", help="Who decides so; kept with it.")],
    why: Why = "",
    wait: Wait = None,
    as_json: AsJson = False,
) -> None:
    """Give it up. Its reference stays used up, and `list --all` goes on showing it."""
    from daybook.client.quarantine import discarding

    view, body = _found(name)
    if view.state in (RETRIED, DISCARDED):
        raise _refused(f"{name} was {view.state} already")
    send(lambda client: _append(client, view, body, discarding, by, why), wait, as_json)


def _found(name: str) -> tuple[QuarantineView, bytes]:
    from daybook.store.read.quarantine import find_quarantined

    with open_reading() as connection:
        found = find_quarantined(connection, name)
    if found is None:
        raise NotFound(f"nothing called {name} was ever quarantined: see `daybook quarantine list`")
    return found


def _append(
    client: Any, view: QuarantineView, body: bytes, making: Making, by: str, why: str
) -> Receipt:
    """Append what resolves it, all in one step; returns the receipt of the last entry."""
    from daybook.client.receipts import Receipt
    from daybook.queue.doorbell import Doorbell

    with open_log() as log:
        entries = making(view.transaction_id, view.position, body, log.now_ms(), by, why)
        last = entries[-1]
        # First: the key of a stranger in the queue is not ours to take over.
        if _is_of_another(log.outcomes([last.key])[0], last):
            raise _refused(
                f"another request is queued under the reference {view.reference}: type the same "
                "again when that one has its outcome"
            )
        results, bells = log.append(entries)
    state = results[-1].state
    if state == "full":
        raise LogFull("the log is full: nothing is lost, type the same again later")
    doorbell = Doorbell(current().require_broker_url())
    doorbell.ring(bells)
    doorbell.close()
    fingerprint = last.fingerprint.hex()
    return Receipt(view.transaction_id, view.reference, last.key, state, fingerprint, client=client)


def _is_of_another(value: bytes | None, entry: NewEntry) -> bool:
    """Whether an outcome key belongs to another request than that of the entry."""
    from daybook.queue.entries import read_value

    return value is not None and read_value(value).fingerprint != entry.fingerprint.hex()


def _shown(view: QuarantineView) -> dict[str, Any]:
    only_in_full = ("outcome", "reason", "request", "traceback")
    return {key: value for key, value in view.asdict().items() if key not in only_in_full}


def _refused(message: str) -> typer.Exit:
    typer.echo(f"error: {message}", err=True)
    return typer.Exit(Exit.BAD_ANSWER)
