"""Look-up of requests by id alone: in the ledger, then among what is not applied yet."""

from __future__ import annotations

import json
from typing import NamedTuple

from sqlalchemy import Engine

from daybook.queue.entries import (
    Money,
    key_of_request,
    outcome_value,
    reference_of_key,
)
from daybook.queue.epochs import FIRST_EPOCH
from daybook.queue.log import Log
from daybook.requests import reference_in, slot_of_transaction
from daybook.requests.bounds import GROUP_ID
from daybook.store.epochs import newest_epoch
from daybook.store.read.outcomes import (
    RecordedOutcome,
    deferred_body,
    recorded_by_id,
    recorded_by_reference,
)
from daybook.store.read.queries import list_partitions, reading


def recorded_under(engine: Engine, key: str) -> str | None:
    """The text of the outcome that the ledger knows under a key. Raises StoreUnavailable."""
    reference = reference_of_key(key)
    with reading(engine) as connection:
        if reference is not None:
            found = recorded_by_reference(connection, reference)
        else:
            found = recorded_by_id(connection, key[2:])
        return None if found is None else _text_of(found)


def find(engine: Engine, request_log: Log, request_id: str) -> str:
    """What is known of the request with this id, for ``daybook.client.flows``.

    A JSON object: ``key``, its outcome key, and ``value``, the outcome's text when it is recorded;
    empty for what nobody knows. Raises StoreUnavailable, LogUnavailable.
    """
    return json.dumps(_found(request_log, request_id, _known(engine, request_id)))


class _Known(NamedTuple):
    """What the database knows. body: of the request, where it is deferred."""

    recorded: RecordedOutcome | None
    body: bytes | None
    cursors: dict[int, int]
    epoch: int


def _known(engine: Engine, request_id: str) -> _Known:
    with reading(engine) as connection:
        recorded = recorded_by_id(connection, request_id)
        epoch = newest_epoch(connection)
        return _Known(
            recorded,
            None if recorded else deferred_body(connection, request_id),
            {view.partition: view.cursor for view in list_partitions(connection)},
            epoch.number if epoch else FIRST_EPOCH,
        )


def _found(request_log: Log, request_id: str, known: _Known) -> dict[str, str]:
    recorded = known.recorded
    if recorded is not None:
        key = key_of_request(recorded.reference, recorded.request_id)
        return {"key": key, "value": _text_of(recorded)}
    if known.body is not None:
        return {"key": key_of_request(reference_in(known.body), request_id)}
    for home in _homes_of(request_log, known.epoch, request_id):
        unread = request_log.unread_key(home, known.cursors.get(home, 0), request_id)
        if unread:
            return {"key": unread}
    return {}


def _homes_of(request_log: Log, epoch: int, request_id: str) -> list[int]:
    """The partitions in which an unread entry can lie; they follow from its id.

    epoch: the one that workers decide in. What was accepted in later ones is routed by their
    numbers, and unread, too.
    """
    if not GROUP_ID.match(request_id):
        return []  # what creates something is known by its id
    slot = slot_of_transaction(request_id)
    numbers = [request_log.partitions()]
    numbers += [each.partitions for each in request_log.epochs.since(epoch)]
    return list(dict.fromkeys(slot % number for number in numbers))


def _text_of(recorded: RecordedOutcome) -> str:
    return outcome_value(
        recorded.fingerprint.hex(),
        recorded.request_id,
        recorded.status,
        recorded.reason,
        recorded.detail,
        position=recorded.position or None,
        money=Money(recorded.precise_amount, recorded.precision, recorded.currency),
    )
