"""The judge: whether a journal and the figures beside it may stand, no matter who wrote them.

Plain data in, a list of violations out, so that the same judge serves the engine in memory and
rows read from Postgres. The numbers in the violations are the properties of the oracle.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from fractions import Fraction
from typing import Any

from tests.oracle.ids import part_id
from tests.oracle.judge_parts import (
    dates_are_kept,
    groups_are_whole,
    labels_and_parents,
    refunds_are_right,
    schedules_are_kept,
    things_are_folds,
)

Row = Mapping[str, Any]

MOVEMENTS = {"transaction", "commit", "void", "refund"}
FIGURES = ("credit", "debit", "inflight_credit", "inflight_debit", "version")


def audit(
    records: Sequence[Row],
    balances: Mapping[str, Row],
    holds: Mapping[str, Row],
    accepted: Sequence[Row],
    *,
    done: Iterable[str] = (),
    drained: bool = True,
    schedules: Set[str] | None = None,
    beside: Sequence[tuple[str, str]] = (),
    things: Mapping[str, Row] | None = None,
    epochs: Sequence[tuple[int, ...]] = (),
) -> list[str]:
    """Every violation of the oracle's properties 1 to 9 and 12.

    records: the journal: the fields of ``Record`` by name, partition and sequence.
    balances: by id: currency, precision and FIGURES. holds: by id: amount, committed, voided.
    accepted: the log. position, slot, slots, request_id, reference (or None), fingerprint, kind;
    of a bulk also atomic and items (the references of its items), of a deadline transaction_id.
    done: ids of creations that exist and of requests whose rejection is kept outside the journal.
    drained: whether everything accepted must have an outcome by now.
    schedules: ids of the transactions that wait for their time.
    beside: references that the journal need not show, each with the id of what has it: of schedules
    and of requests whose rejection is kept outside the journal.
    things: fields and meta_data by
    id: of ledgers, balances and identities, meta_data of transactions that were changed.
    epochs: where each number of partitions begins, and the number; in order. Without them there
    is one, and it is not known.
    """
    fences = [fence for fence, _ in epochs]
    rows = [{**row, "epoch": bisect_left(fences, row["position"])} for row in records]
    rows.sort(key=lambda row: (row["epoch"], row["partition"], row["sequence"]))
    known = set(done)
    violations = [
        *_sums_are_equal(rows, balances),
        *_figures_are_folds(rows, balances),
        *_one_outcome_each(rows, accepted, known, drained=drained),
        *_one_owner_each(rows, beside),
        *_order_is_kept(rows, accepted, epochs),
        *_nothing_overtook(rows, accepted, known),
        *_limits_hold(rows, balances),
        *_holds_add_up(rows, holds),
        *dates_are_kept(rows, accepted, drained=drained),
        *groups_are_whole(rows, accepted, {reference for reference, _ in beside}),
        *refunds_are_right(rows),
        *labels_and_parents(rows),
        *schedules_are_kept(rows, schedules, known),
        *_rejections_were_due(rows, accepted),
    ]
    return violations if things is None else [*violations, *things_are_folds(rows, things)]


def moved(row: Row) -> bool:
    """Whether the row itself moved money: what is carried out by parts moves none."""
    return row["kind"] in MOVEMENTS and row["parts"] is None and row["status"] != "REJECTED"


def _sums_are_equal(rows: Sequence[Row], balances: Mapping[str, Row]) -> Iterable[str]:
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for balance in balances.values():
        total = sums[balance["currency"]]
        total[0] += balance["credit"] - balance["debit"]
        total[1] += balance["inflight_credit"] - balance["inflight_debit"]
    for currency, (posted, inflight) in sums.items():
        if posted or inflight:
            yield f"1: {currency} sums to {posted} posted and {inflight} inflight, not to zero"


def _effects(row: Row) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
    """What a row adds to the four figures of its source and of its destination."""
    amount = row["precise_amount"]
    if row["status"] == "VOID":
        return (0, 0, 0, -amount), (0, 0, -amount, 0)
    if row["status"] == "INFLIGHT":
        return (0, 0, 0, amount), (0, 0, amount, 0)
    if row["kind"] == "commit":
        return (0, amount, 0, -amount), (amount, 0, -amount, 0)
    return (0, amount, 0, 0), (amount, 0, 0, 0)


def _figures_are_folds(rows: Sequence[Row], balances: Mapping[str, Row]) -> Iterable[str]:
    folded: dict[str, list[int]] = defaultdict(lambda: [0] * 5)
    for row in rows:
        if not moved(row):
            continue
        if row["precise_amount"] <= 0:
            yield f"2: {row['transaction_id']} moves {row['precise_amount']}"
        for side, effect in zip(("source_id", "destination_id"), _effects(row), strict=True):
            folded[row[side]] = [
                old + new for old, new in zip(folded[row[side]], (*effect, 1), strict=True)
            ]
            if row[side] not in balances:
                yield f"2: {row['transaction_id']} moved money of {row[side]}, which is missing"
            elif balances[row[side]]["currency"] != row["currency"]:
                yield f"2: {row['transaction_id']} moved {row['currency']} of {row[side]}"
    for balance_id, balance in balances.items():
        shown = [balance[name] for name in FIGURES]
        if shown != folded[balance_id]:
            yield f"2, 5: {balance_id} stands at {shown}, its rows at {folded[balance_id]}"
        if min(shown) < 0:
            yield f"2: {balance_id} has a negative figure: {shown}"
        if (balance["precision"] is None) != (not folded[balance_id][4]):
            yield f"5: {balance_id} has precision {balance['precision']} by a rejection"


def _one_outcome_each(
    rows: Sequence[Row], accepted: Sequence[Row], done: set[str], *, drained: bool
) -> Iterable[str]:
    by_reference: dict[str, Row] = {}
    by_id: dict[str, Row] = {}
    allowed = _ids_that_may_be(rows, accepted)
    for row in rows:
        if row["transaction_id"] in by_id:
            yield f"3: {row['transaction_id']} is recorded twice"
        by_id[row["transaction_id"]] = row
        if row["transaction_id"] not in allowed:
            yield f"3: {row['transaction_id']} is recorded and was never accepted"
        if row["derived"]:
            continue
        if row["reference"] in by_reference:
            yield f"3: reference {row['reference']} is recorded twice"
        by_reference[row["reference"]] = row
    has_outcome = _outcomes(rows, done)
    for entry in accepted if drained else ():
        if not has_outcome(entry):
            yield f"4: {entry['request_id']} has no outcome"


def _one_owner_each(rows: Sequence[Row], beside: Sequence[tuple[str, str]]) -> Iterable[str]:
    """A reference that several have, in the journal and beside it."""
    owners: dict[str, set[str]] = defaultdict(set)
    for reference, owner in beside:
        owners[reference].add(owner)
    for row in rows:
        if not row["derived"] and row["reference"] in owners:
            owners[row["reference"]].add(row["transaction_id"])
    for reference, several in owners.items():
        if len(several) > 1:
            yield f"3: reference {reference} belongs to {sorted(several)}"


def _ids_that_may_be(rows: Sequence[Row], accepted: Sequence[Row]) -> set[str]:
    """Ids that were accepted, and those of the parts, schedules and deadlines that follow."""
    allowed = {entry["request_id"] for entry in accepted}
    allowed |= {part_id(request_id, "scheduled") for request_id in allowed}
    for row in rows:
        own = row["transaction_id"]
        allowed |= {part_id(own, number + 1) for number in range(row["parts"] or 0)}
        if row["status"] == "INFLIGHT":
            allowed.add(part_id(own, "deadline"))
    return allowed


def _outcomes(rows: Sequence[Row], done: set[str]) -> Callable[[Row], bool]:
    """Whether an accepted entry has its outcome: by its id, or as a repetition."""
    by_id = {row["transaction_id"]: row["fingerprint"] for row in rows}
    said = {row["fingerprint"] for row in rows}

    def has_outcome(entry: Row) -> bool:
        request_id, fingerprint = entry["request_id"], entry["fingerprint"]
        scheduled = part_id(request_id, "scheduled")
        return (
            request_id in done
            or by_id.get(request_id) == fingerprint
            or by_id.get(scheduled) == fingerprint
            or (entry["reference"] is not None and fingerprint in said)
            or entry["kind"] in ("Deadline", "Resolve")  # holds, rejections: judged by themselves
        )

    return has_outcome


def _order_is_kept(
    rows: Sequence[Row], accepted: Sequence[Row], epochs: Sequence[tuple[int, ...]]
) -> Iterable[str]:
    """Within an epoch a slot has one partition, and that keeps its order."""
    slots = {entry["position"]: entry["slot"] for entry in accepted}
    sequences: dict[int, int] = defaultdict(int)
    newest: dict[tuple[int, int], int] = defaultdict(lambda: -1)
    homes: dict[tuple[int, int], int] = {}
    for row in rows:
        partition, sequence = row["partition"], row["sequence"]
        if sequence != sequences[partition] + 1:
            yield f"6: {partition}/{sequences[partition]} is followed by {sequence}"
        sequences[partition] = sequence
        slot = slots.get(row["position"], -1)
        epoch = row["epoch"]
        if row["position"] < newest[slot, epoch]:
            yield f"6: {row['transaction_id']} overtook an older entry of slot {slot}"
        newest[slot, epoch] = row["position"]
        home = homes.setdefault((slot, epoch), partition)
        if home != partition:
            yield f"6: slot {slot} is in partitions {home} and {partition}"
        if epochs and slot >= 0 and partition != slot % epochs[epoch - 1][1]:
            yield f"6: slot {slot} is in partition {partition} of {epochs[epoch - 1][1]}"


def _nothing_overtook(
    rows: Sequence[Row], accepted: Sequence[Row], done: set[str]
) -> Iterable[str]:
    """Of no slot a younger entry is recorded while an older one is open, in any partition.

    A request that spends from balances of several slots has its place in each of them.
    """
    has_outcome = _outcomes(rows, done)
    recorded = {row["position"] for row in rows}
    oldest_open: dict[int, str] = {}
    for entry in sorted(accepted, key=lambda entry: entry["position"]):
        for slot in {entry["slot"], *entry["slots"]}:
            if entry["position"] in recorded:
                if slot in oldest_open:
                    yield f"6: {entry['request_id']} overtook {oldest_open[slot]} of slot {slot}"
            elif not has_outcome(entry):
                oldest_open.setdefault(slot, entry["request_id"])


def _limits_hold(rows: Sequence[Row], balances: Mapping[str, Row]) -> Iterable[str]:
    """No balance is below its lowest limit, but for refunds, which check no funds."""
    floors: dict[str, int | None] = defaultdict(int)
    refunds: dict[str, int] = defaultdict(int)
    for row in rows:
        if not moved(row) or row["kind"] not in ("transaction", "refund"):
            continue
        source, limit = row["source_id"], _limit_minor(row)
        if row["kind"] == "refund":
            refunds[source] += row["precise_amount"]
        elif row["allow_overdraft"] and row["overdraft_limit"] is None:
            floors[source] = None
        elif (floor := floors[source]) is not None:
            floors[source] = min(floor, -limit)
    for balance_id, balance in balances.items():
        floor = floors[balance_id]
        available = balance["credit"] - balance["debit"] - balance["inflight_debit"]
        if floor is not None and available < floor - refunds[balance_id]:
            yield f"7: {balance_id} has {available} available, {floor} is its limit"


def _limit_minor(row: Row) -> int:
    return (Fraction(row["overdraft_limit"] or 0) * (row["precision"] or 1)).__floor__()


def _holds_add_up(rows: Sequence[Row], holds: Mapping[str, Row]) -> Iterable[str]:
    folded: dict[str, list[int]] = {}
    for row in rows:
        if moved(row) and row["status"] == "INFLIGHT":
            folded[row["transaction_id"]] = [row["precise_amount"], 0, 0]
    for row in rows:
        if moved(row) and row["kind"] in ("commit", "void"):
            if row["parent_id"] not in folded:
                yield f"8: {row['transaction_id']} acts on {row['parent_id']}, which is no hold"
                continue
            folded[row["parent_id"]][2 if row["status"] == "VOID" else 1] += row["precise_amount"]
    if folded.keys() != holds.keys():
        yield f"8: holds {sorted(folded.keys() ^ holds.keys())} are in the journal or beside it"
    for hold_id, (amount, committed, voided) in folded.items():
        beside = holds.get(hold_id)
        if committed + voided > amount or min(committed, voided) < 0:
            yield f"8: hold {hold_id}: {amount} held, {committed} committed, {voided} voided"
        if beside and (amount, committed, voided) != (
            beside["amount"],
            beside["committed"],
            beside["voided"],
        ):
            yield f"8: hold {hold_id} stands at {dict(beside)}, its rows at {folded[hold_id]}"


def _rejections_were_due(rows: Sequence[Row], accepted: Sequence[Row]) -> Iterable[str]:
    """Rejections for lack of funds, weighed with all that was accepted before them.

    Sound for balances whose debits share a slot: of others, a younger debit may have come first.
    """
    slots = {entry["position"]: {entry["slot"], *entry["slots"]} for entry in accepted}
    shared: dict[str, set[int]] = {}
    for row in rows:
        if row["source_id"] is not None and (moved(row) or row["status"] == "REJECTED"):
            own = slots.get(row["position"], {-1})
            shared[row["source_id"]] = shared.get(row["source_id"], own) & own
    available: dict[str, int] = defaultdict(int)
    undone: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["position"], row["sequence"])):
        if moved(row):
            _spend(available, row, 1)
        elif row["reason"] == "bulk_aborted":
            undone[row["parent_id"]].append(row)
        elif row["reason"] in ("insufficient_funds", "overdraft_limit_exceeded"):
            before = undone[row["parent_id"]]
            if (
                row["source_id"] is None
                or row["kind"] != "transaction"
                or any(None in (each["source_id"], each["destination_id"]) for each in before)
            ):
                continue
            for each in before:
                _spend(available, each, 1)
            source = row["source_id"]
            if available[source] + _limit_minor(row) >= row["precise_amount"] and shared[source]:
                yield (
                    f"12: {row['transaction_id']} was refused {row['precise_amount']} with "
                    f"{available[source]} available at its turn"
                )
            for each in before:
                _spend(available, each, -1)


def _spend(available: dict[str, int], row: Row, sign: int) -> None:
    """What a row, or one that was undone with its bulk, does to what is available."""
    if row["status"] == "REJECTED":  # whether it was a hold is not known: then nobody may spend it
        available[row["source_id"]] -= sign * row["precise_amount"]
        return
    for side, effect in zip(("source_id", "destination_id"), _effects(row), strict=True):
        credit, debit, _, inflight_debit = effect
        available[row[side]] += sign * (credit - debit - inflight_debit)
