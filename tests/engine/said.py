"""What outcomes and records say, against what was asked: no word of it is lost or changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_type_hints

from daybook.ledger.entry import Decision, LogEntry
from daybook.ledger.ids import part_id
from daybook.ledger.instructions import (
    Bulk,
    Cancel,
    Change,
    Commit,
    MultiLeg,
    NewBalance,
    NewIdentity,
    NewLedger,
    Refund,
    Void,
)
from daybook.ledger.record import Record
from daybook.requests import load_json
from daybook.requests.fields import canonical_meta_data


def missaid(
    entries: Iterable[LogEntry], records: Iterable[Record], outcomes: Mapping[int, Decision]
) -> list[str]:
    """Every field of a record or an outcome that is not what its request says."""
    made: dict[int, dict[str, Record]] = {}
    found: list[str] = []
    for record in records:
        made.setdefault(record.position, {})[record.transaction_id] = record
        found += [*_of_another_type(record), *_unclear(record.transaction_id, record.detail)]
    for entry in entries:
        own = made.get(entry.position, {})
        for record_id, fields in _asked(entry).items():
            if record_id in own:
                found += _differences(own[record_id], fields)
        if entry.position in outcomes:
            found += _about_outcome(entry, outcomes[entry.position], own.get(entry.request_id))
    return found


_TYPES: dict[type, dict[str, Any]] = {kind: get_type_hints(kind) for kind in (Record, Decision)}


def _of_another_type(row: Record | Decision) -> Iterator[str]:
    """Fields of another type than they are declared to have: an absent text is not an empty one."""
    for name, kind in _TYPES[type(row)].items():
        if not isinstance(getattr(row, name), kind):
            yield f"{row}: {name} {getattr(row, name)!r} is no {kind}"


_DETAIL = re.compile(
    r"(?P<field>[a-z_]+): \S|cancelled by \S|\d+ of \d+ refused: \S|deciding the request raised \S"
    r"|(the bulk was refused: )?item \d+ \(\S+\): [a-z_]+: (?P<item>[a-z_]+): \S"
)
_FIELDS = {"amount", "currency", "precision", "source", "destination", "reference", "meta_data"}
_FIELDS |= {f"{thing}_id" for thing in ("transaction", "ledger", "balance", "identity", "subject")}


def _unclear(name: str, detail: str | None) -> Iterator[str]:
    """A detail begins with the field that it is about, and every value in it is one."""
    if detail is None:
        return
    found = _DETAIL.match(detail)
    if not found or not {found["field"], found["item"]} - {None} <= _FIELDS or "None" in detail:
        yield f"{name}: unclear detail {detail!r}"


def _asked(entry: LogEntry) -> dict[str, dict[str, Any]]:
    """By the ids of the records of an entry: their fields, as far as the request says them."""
    wanted = entry.instruction
    parts = {entry.request_id: wanted}
    if isinstance(wanted, Bulk):
        parts |= {part_id(entry.request_id, n): item for n, item in enumerate(wanted.items, 1)}
    asked: dict[str, dict[str, Any]] = {}
    for own_id, part in parts.items():
        asked |= _with_legs(own_id, part) if isinstance(part, MultiLeg) else {own_id: _said(part)}
    for fields in asked.values():
        fields |= {"position": entry.position, "fingerprint": entry.fingerprint}
        if fields.get("effective_micros", 0) is None:
            fields["effective_micros"] = entry.accepted_ms * 1000
    return asked


def _said(wanted: Any) -> dict[str, Any]:
    """What one part of a request says of its record. An action is labelled where it has no name."""
    fields = {**wanted._asdict(), "derived": False}
    if isinstance(wanted, Commit | Void | Cancel | Refund | Change):
        fields["derived"] = wanted.reference is None
        for name in ("transaction_id", "precise_amount"):
            fields.pop(name, None)
        if isinstance(wanted, Change):
            fields["change"] = _change_text(wanted)
        if isinstance(wanted, Refund | Change):
            del fields["meta_data"]  # merged, or a part of the change
        if wanted.reference is None:
            del fields["reference"]
    elif isinstance(wanted, NewLedger | NewBalance | NewIdentity):
        fields = {"derived": True, "change": _creation_text(wanted)}
    elif not hasattr(wanted, "precise_amount") and not isinstance(wanted, Bulk):
        fields = {}
    return fields


def _change_text(wanted: Change) -> str:
    """What a change says, as canonical JSON: the fields, the meta_data and who makes it."""
    said = {
        "fields": json.loads(wanted.fields),
        "made_by": wanted.made_by,
        "meta_data": load_json(wanted.meta_data or "{}"),
    }
    return canonical_meta_data({name: value for name, value in said.items() if value})


def _creation_text(wanted: NewLedger | NewBalance | NewIdentity) -> str:
    """What a creation says of the thing, as canonical JSON: all but its own id."""
    said = {
        name: value for name in wanted._fields[1:] if (value := getattr(wanted, name)) is not None
    }
    for name in ("fields", "meta_data"):
        if name in said:
            said[name] = load_json(said[name])
    return canonical_meta_data(said)


def _with_legs(own_id: str, wanted: MultiLeg) -> dict[str, dict[str, Any]]:
    """A request with legs names the sides that all of them share; they have all else of it."""
    whole = _said(wanted.whole)
    asked = {own_id: dict(whole)}
    for side in ("source_id", "destination_id"):
        names = {getattr(leg, side) for leg in wanted.legs}
        asked[own_id][side] = names.pop() if len(names) == 1 else None
    for number, leg in enumerate(wanted.legs, 1):
        label = {"reference": f"{wanted.reference}_{number}", "derived": True}
        asked[part_id(own_id, number)] = whole | leg._asdict() | label
    return asked


def _differences(record: Record, fields: Mapping[str, Any]) -> Iterator[str]:
    for name in Record._fields:
        if name == "derived" and record.reason == "reference_conflict":
            continue  # a scheduled transaction that lost its reference meanwhile
        if name in fields and getattr(record, name) != fields[name]:
            yield f"{record.transaction_id}: {name} {getattr(record, name)!r}, not {fields[name]!r}"


def _about_outcome(entry: LogEntry, outcome: Decision, record: Record | None) -> Iterator[str]:
    """An outcome is that of its entry, gives a reason in words, and is what is recorded."""
    yield from [*_of_another_type(outcome), *_unclear(entry.request_id, outcome.detail)]
    asked = entry.instruction.reference
    if outcome.request_id != entry.request_id or outcome.position != entry.position:
        yield f"{entry.request_id}: its outcome is of {outcome.request_id}"
    if asked is not None and outcome.reference != asked:
        yield f"{entry.request_id}: its outcome is of the reference {outcome.reference}"
    if outcome.status == "REJECTED" and not (outcome.reason and outcome.detail):
        yield f"{entry.request_id}: is refused without a word"
    if record is not None and not outcome.duplicate:
        told = (outcome.status, outcome.reason, outcome.detail)
        if told != (record.status, record.reason, record.detail):
            yield f"{entry.request_id}: {told} is not what is recorded"
        if asked is None and outcome.reference not in (None, record.reference):
            yield f"{entry.request_id}: its outcome is of the reference {outcome.reference}"
