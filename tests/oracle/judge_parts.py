"""The judge's rules on requests that several rows carry out, and on what depends on time.

Property 9: a group takes effect as a whole or not at all. With it refunds, schedules, the dates
of holds, labels, and what is known of things.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from tests.oracle.ids import part_id

Row = Mapping[str, Any]

POSITION_COUNTER_BITS = 20


def micros_of(row: Row) -> int:
    """When the entry behind a row was accepted, in microseconds since the epoch."""
    return int(row["position"] >> POSITION_COUNTER_BITS) * 1000


def groups_are_whole(
    rows: Sequence[Row], accepted: Sequence[Row], beside: Set[str]
) -> Iterable[str]:
    """Every request that several rows carry out has all of its rows, or none.

    beside: references that others have, which the journal need not show.
    """
    taken = beside | {row["reference"] for row in rows if not row["derived"]}
    by_id = {row["transaction_id"]: row for row in rows}
    entries = {entry["request_id"]: entry for entry in accepted}
    claimed: set[str] = set()
    for root in rows:
        if root["parts"] is None:
            continue
        ids = [part_id(root["transaction_id"], n + 1) for n in range(root["parts"])]
        parts = {n: by_id[own] for n, own in enumerate(ids, 1) if own in by_id}
        claimed |= set(ids)
        yield from _stand_together(root, parts)
        if root["kind"] == "transaction":
            yield from _legs(root, parts)
        elif root["kind"] == "bulk":
            yield from _items(root, parts, entries.get(root["transaction_id"]), taken)
        elif root["status"] == "REJECTED":
            if parts:
                yield f"9: {root['transaction_id']} was refused and has parts"
        else:
            yield from _actions(root, parts, by_id, rows)
    for row in rows:
        if row["part"] is not None and row["transaction_id"] not in claimed:
            yield f"9: {row['transaction_id']} is a part of nothing"


def _stand_together(root: Row, parts: Mapping[int, Row]) -> Iterable[str]:
    """Parts follow their request in its unit of work, in their order, numbered from 1."""
    place = root["sequence"]
    for number, part in parts.items():
        name = f"9: part {number} of {root['transaction_id']}"
        if part["part"] != number:
            yield f"{name} says that it is part {part['part']}"
        if (part["partition"], part["position"]) != (root["partition"], root["position"]):
            yield f"{name} was recorded elsewhere"
        if part["sequence"] <= place:
            yield f"{name} is out of order"
        place = part["sequence"]


def _legs(root: Row, parts: Mapping[int, Row]) -> Iterable[str]:
    name = f"9: {root['transaction_id']}"
    if root["status"] == "REJECTED":
        if parts:
            yield f"{name} was refused and has legs"
        return
    if len(parts) != root["parts"]:
        yield f"{name} has legs {sorted(parts)} of {root['parts']}"
    if sum(leg["precise_amount"] for leg in parts.values()) != root["precise_amount"]:
        yield f"{name} has legs that do not add up to {root['precise_amount']}"
    for number, leg in parts.items():
        same = ("kind", "status", "currency", "precision", "position")
        if any(leg[field] != root[field] for field in same) or leg["parts"] is not None:
            yield f"{name} has a leg {number} that is unlike it"
        if leg["parent_id"] != root["transaction_id"] or not leg["derived"]:
            yield f"{name} has a leg {number} with another parent or a reference of its own"
        if leg["reference"] != f"{root['reference']}_{number}":
            yield f"{name} has a leg {number} labelled {leg['reference']}"
        for side in ("source_id", "destination_id"):
            if root[side] not in (None, leg[side]):
                yield f"{name} has a leg {number} with another {side}"
    for side in ("source_id", "destination_id"):
        if (root[side] is None) != (len({leg[side] for leg in parts.values()}) > 1):
            yield f"{name} names {root[side]}, and its legs have several or one {side}"
    if len({(leg["source_id"], leg["destination_id"]) for leg in parts.values()}) != len(parts):
        yield f"{name} has two legs between the same balances"


def _items(
    root: Row, parts: Mapping[int, Row], entry: Row | None, taken: Set[str]
) -> Iterable[str]:
    name = f"9: bulk {root['transaction_id']}"
    if entry is None:
        return  # said elsewhere: it was never accepted
    if root["parts"] != len(entry["items"]):
        yield f"{name} has {root['parts']} parts for {len(entry['items'])} items"
    for number, reference in enumerate(entry["items"], 1):
        item = parts.get(number)
        if item is None:
            if reference not in taken and root["reason"] != "quarantined":
                yield f"{name} has no row for item {number}"
        elif item["reference"] != reference or item["derived"]:
            yield f"{name} shows {item['reference']} for item {number}"
        elif item["parent_id"] != root["transaction_id"] or item["kind"] != "transaction":
            yield f"{name} has an item {number} of its own"
    posted = {n: item for n, item in parts.items() if item["status"] != "REJECTED"}
    if (root["status"] == "REJECTED") != (not posted):
        yield f"{name} is {root['status']} with {len(posted)} items posted"
    if posted:
        holds = all(item["status"] == "INFLIGHT" for item in posted.values())
        if root["status"] != ("INFLIGHT" if holds else "APPLIED"):
            yield f"{name} is {root['status']}, unlike its items"
    if entry["atomic"]:
        yield from _all_or_none(name, root, parts, posted)


def _all_or_none(
    name: str, root: Row, parts: Mapping[int, Row], posted: Mapping[int, Row]
) -> Iterable[str]:
    if posted and len(posted) != root["parts"]:
        yield f"{name} is atomic, and {len(posted)} of {root['parts']} items are posted"
    if posted or root["reason"] == "quarantined":
        return
    reasons = [item["reason"] for item in parts.values() if item["reason"] != "bulk_aborted"]
    if len(reasons) > 1 or any(reason != root["reason"] for reason in reasons):
        yield f"{name} was refused for {root['reason']}, its items for {reasons}"
    if not reasons and len(parts) == root["parts"]:
        yield f"{name} was refused and no item of it is why"


def _leaves(group_id: str, by_id: Mapping[str, Row]) -> list[str]:
    """Ids of the rows that carry a request out, whatever it is made of."""
    row = by_id.get(group_id)
    if row is None:
        return []
    if row["parts"] is None:
        return [group_id]
    parts = [part_id(group_id, number + 1) for number in range(row["parts"])]
    return [leaf for own in parts for leaf in _leaves(own, by_id)]


def _actions(
    root: Row, parts: Mapping[int, Row], by_id: Mapping[str, Row], rows: Sequence[Row]
) -> Iterable[str]:
    """A commit, void or refund of a group is done to all of it that was open."""
    name = f"9: {root['kind']} {root['transaction_id']}"
    if len(parts) != root["parts"] or not parts:
        yield f"{name} has parts {sorted(parts)} of {root['parts']}"
    done_to = [part["parent_id"] for part in parts.values()]
    members = set(_leaves(root["parent_id"], by_id))
    if len(set(done_to)) != len(done_to) or not set(done_to) <= members:
        yield f"{name} is done to {done_to}, of {sorted(members)}"
    for number, part in parts.items():
        if (part["kind"], part["status"]) != (root["kind"], root["status"]) or not part["derived"]:
            yield f"{name} has a part {number} that is unlike it"
    if root["kind"] == "refund":
        wanted = {
            leaf
            for leaf in members
            if by_id[leaf]["status"] == "APPLIED" and _reversible(by_id[leaf])
        }
    else:
        wanted = {leaf for leaf in members if by_id[leaf]["status"] == "INFLIGHT"}
    for leaf in sorted(wanted - set(done_to)):
        acts = [
            row
            for row in rows
            if row["parent_id"] == leaf
            and row["status"] != "REJECTED"
            and _place(row) < _place(root)
        ]
        over = (
            any(row["kind"] == "refund" for row in acts)
            if root["kind"] == "refund"
            else sum(row["precise_amount"] or 0 for row in acts) == by_id[leaf]["precise_amount"]
        )
        if not over:
            yield f"{name} left {leaf} out"


def _reversible(row: Row) -> bool:
    return row["kind"] in ("transaction", "commit")


def refunds_are_right(rows: Sequence[Row]) -> Iterable[str]:
    """A refund is the reverse of one applied movement, in full and once."""
    by_id = {row["transaction_id"]: row for row in rows}
    refunded: set[str] = set()
    for row in rows:
        if row["kind"] != "refund" or row["status"] == "REJECTED" or row["parts"] is not None:
            continue
        name = f"9: refund {row['transaction_id']}"
        original = by_id.get(row["parent_id"])
        if original is None or not _reversible(original) or original["status"] != "APPLIED":
            yield f"{name} is of {row['parent_id']}, which moved nothing"
            continue
        if row["parent_id"] in refunded:
            yield f"{name} is the second of {row['parent_id']}"
        refunded.add(row["parent_id"])
        there = [original[name] for name in ("source_id", "destination_id")]
        back = [row[name] for name in ("destination_id", "source_id")]
        same = ("precise_amount", "currency", "precision")
        if there != back or any(row[field] != original[field] for field in same):
            yield f"{name} is not the reverse of {row['parent_id']}"


def dates_are_kept(rows: Sequence[Row], accepted: Sequence[Row], *, drained: bool) -> Iterable[str]:
    """A hold with a date that has come is ended as the date says, before anything else."""
    holds = {
        r["transaction_id"]: r for r in rows if r["status"] == "INFLIGHT" and r["parts"] is None
    }
    closed: dict[str, int] = defaultdict(int)
    for row in rows:
        hold = holds.get(row["parent_id"])
        if hold is None or row["status"] == "REJECTED" or row["kind"] not in ("commit", "void"):
            continue
        hold_id = hold["transaction_id"]
        own = row["transaction_id"] == part_id(hold_id, "deadline")
        wanted = _demanded(hold, micros_of(row))
        closed[hold_id] += row["precise_amount"]
        if not own and wanted is not None:
            yield f"8: {row['transaction_id']} acts on {hold_id} after its {wanted} was due"
        if own and row["kind"] != wanted:
            yield f"8: {hold_id} was ended by a {row['kind']}, its dates demand {wanted}"
        if own and closed[hold_id] != hold["precise_amount"]:
            yield f"8: {hold_id} was ended and {closed[hold_id]} of it is closed"
    by_id = {row["transaction_id"]: row for row in rows}
    for entry in accepted if drained else ():
        for leaf in _leaves(entry["transaction_id"], by_id) if entry["kind"] == "Deadline" else ():
            is_due = leaf in holds and _demanded(holds[leaf], micros_of(entry))
            if is_due and closed[leaf] != holds[leaf]["precise_amount"]:
                yield f"8: {leaf} is open though its date has come"


def _demanded(hold: Row, now: int) -> str | None:
    """What the dates of a hold ask for: the earlier one that has come, on a tie the commit."""
    due = [
        (hold[field], rank, kind)
        for rank, (field, kind) in enumerate(
            (("commits_micros", "commit"), ("expires_micros", "void"))
        )
        if hold[field] is not None and hold[field] <= now
    ]
    return min(due)[2] if due else None


def schedules_are_kept(
    rows: Sequence[Row], schedules: Set[str] | None, done: Set[str]
) -> Iterable[str]:
    """A transaction for later comes to be at most once, not before its time, or is cancelled.

    Only what was quarantined when its time came has its outcome outside of the journal.
    """
    by_id = {row["transaction_id"]: row for row in rows}
    cancelled = {
        r["parent_id"]: r for r in rows if r["kind"] == "cancel" and r["status"] == "APPLIED"
    }
    waiting = {}
    for row in rows:
        if row["kind"] != "schedule":
            continue
        own, moment = row["parent_id"], row["scheduled_micros"]
        if own in waiting:
            yield f"9: {own} was scheduled twice"
        waiting[own] = row
        if moment <= micros_of(row):
            yield f"9: {own} was scheduled for a time in the past"
        outcome, cancel = by_id.get(own), cancelled.pop(own, None)
        if cancel is not None and (outcome is None or outcome["reason"] != "cancelled"):
            yield f"9: {own} was cancelled and is {outcome and outcome['status']}"
        if cancel is not None and micros_of(cancel) >= moment:
            yield f"9: {own} was cancelled after its time"
        if outcome is None:
            continue
        if cancel is None and micros_of(outcome) < moment:
            yield f"9: {own} came before its time"
        same = ("source_id", "destination_id", "precise_amount", "fingerprint")
        if any(outcome[field] != row[field] for field in same):
            yield f"9: {own} is not what was scheduled"
        if _place(outcome) <= _place(row):
            yield f"9: {own} came before it was scheduled"
    yield from (f"9: {own} was cancelled and never scheduled" for own in cancelled)
    for row in rows:
        own, moment = row["transaction_id"], row["scheduled_micros"]
        root = row["kind"] == "transaction" and row["part"] is None
        if root and moment is not None and moment > micros_of(row) and own not in waiting:
            yield f"9: {own} came before its time and was never scheduled"
    still_waiting = waiting.keys() - by_id.keys() - done
    if schedules is not None and still_waiting != set(schedules):
        wrong = sorted(still_waiting ^ set(schedules))
        yield f"9: schedules {wrong} are in the journal or beside it"


def _place(row: Row) -> tuple[int, int, int]:
    """Where a row stands: in the order of the epochs, then of its partition's journal."""
    return row["epoch"], row["partition"], row["sequence"]


_LABELLED = {"schedule", "ledger", "balance", "identity"}


def labels_and_parents(rows: Sequence[Row]) -> Iterable[str]:
    """What the ledger names is a label; what has a parent comes after it, in its partition.

    Only a parent of an earlier epoch may lie elsewhere.
    """
    by_id = {row["transaction_id"]: row for row in rows}
    scheduled = {row["parent_id"] for row in rows if row["kind"] == "schedule"}
    for row in rows:
        own, parent = row["transaction_id"], row["parent_id"]
        if row["kind"] in _LABELLED and not row["derived"]:
            yield f"3: the name of {own} is no label"
        if row["kind"] == "transaction" and row["part"] is None and row["derived"]:
            yield f"3: {own} has no reference of its own"
        if parent is None or row["status"] == "REJECTED" or row["kind"] == "schedule":
            continue
        if row["kind"] == "cancel" and parent in scheduled:
            continue
        if parent not in by_id:
            yield f"8: {own} has the parent {parent}, which does not exist"
        elif by_id[parent]["epoch"] < row["epoch"]:
            continue
        elif by_id[parent]["partition"] != row["partition"]:
            yield f"8: {own} is not in the partition of its parent {parent}"
        elif by_id[parent]["sequence"] >= row["sequence"]:
            yield f"8: {own} comes before its parent {parent}"


_FIELDS_OF = {"ledger": ("name",), "balance": ("identity_id",)}


def things_are_folds(rows: Sequence[Row], things: Mapping[str, Row]) -> Iterable[str]:
    """What is known of a thing is what its rows said: its creation, then each change."""
    folded: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "general_ledger_id": ({"name": "General Ledger"}, {})
    }
    for row in rows:
        if row["change"] is None or row["status"] == "REJECTED":
            continue
        said = _object(row["change"])
        subject, meta_data = row["subject_id"], said.get("meta_data") or {}
        fields, kept = folded.setdefault(subject, ({}, {}))
        if row["kind"] in _FIELDS_OF:
            said["fields"] = {name: said[name] for name in _FIELDS_OF[row["kind"]] if name in said}
        fields.update(said.get("fields") or {})
        kept.update(meta_data)
    for subject in sorted(folded.keys() | things.keys()):
        fields, kept = folded.get(subject, ({}, {}))
        thing = things.get(subject)
        if thing is None:
            yield f"2: {subject} is missing"
        elif thing["fields"] != fields or thing["meta_data"] != kept:
            yield f"2: {subject} is {dict(thing)}, its rows say {fields} and {kept}"


def _object(text: Any) -> dict[str, Any]:
    """A JSON object, as text or already read."""
    if text is None:
        return {}
    return dict(json.loads(text) if isinstance(text, str) else text)
