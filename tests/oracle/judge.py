"""The judge: whether a journal and the figures beside it may stand, whoever wrote them.

Plain data in, a list of violations out, so that the same judge serves the engine in memory and
rows read from Postgres. The numbers in the violations are the properties of the oracle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

Row = Mapping[str, Any]

MOVES = {"APPLIED", "INFLIGHT", "VOID"}
FIGURES = ("credit", "debit", "inflight_credit", "inflight_debit", "version")


def audit(
    records: Sequence[Row],
    balances: Mapping[str, Row],
    holds: Mapping[str, Row],
    accepted: Sequence[Row],
    *,
    done: Iterable[str] = (),
    drained: bool = True,
) -> list[str]:
    """Every violation of the oracle's properties 1 to 8 and 12.

    records: the journal. partition, sequence, transaction_id, kind, reference, derived, parent_id,
    source_id, destination_id, currency, precision, precise_amount, status, reason,
    allow_overdraft, overdraft_limit (text or None), position, fingerprint.
    balances: by id: currency, precision and FIGURES. holds: by id: amount, committed, voided.
    accepted: the log. position, slot, request_id, reference (or None), fingerprint, kind.
    done: ids of creations that exist and of requests whose refusal is kept outside the journal.
    drained: whether everything accepted must have an outcome by now.
    """
    rows = sorted(records, key=lambda row: (row["partition"], row["sequence"]))
    return [
        *_sums_are_equal(rows, balances),
        *_figures_are_folds(rows, balances),
        *_one_outcome_each(rows, accepted, set(done), drained=drained),
        *_order_is_kept(rows, accepted),
        *_limits_hold(rows, balances),
        *_holds_add_up(rows, holds),
        *_refusals_were_due(rows, accepted),
    ]


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
    if row["parent_id"] is not None:
        return (0, amount, 0, -amount), (amount, 0, -amount, 0)
    return (0, amount, 0, 0), (amount, 0, 0, 0)


def _figures_are_folds(rows: Sequence[Row], balances: Mapping[str, Row]) -> Iterable[str]:
    folded: dict[str, list[int]] = defaultdict(lambda: [0] * 5)
    for row in rows:
        if row["status"] not in MOVES:
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
            yield f"5: {balance_id} has precision {balance['precision']} by a refusal"


def _one_outcome_each(
    rows: Sequence[Row], accepted: Sequence[Row], done: set[str], *, drained: bool
) -> Iterable[str]:
    by_reference: dict[str, Row] = {}
    by_id: dict[str, Row] = {}
    known = {entry["request_id"]: entry for entry in accepted}
    for row in rows:
        if row["transaction_id"] in by_id:
            yield f"3: {row['transaction_id']} is recorded twice"
        by_id[row["transaction_id"]] = row
        if row["transaction_id"] not in known:
            yield f"3: {row['transaction_id']} is recorded and was never accepted"
        if row["derived"]:
            continue
        if row["reference"] in by_reference:
            yield f"3: reference {row['reference']} is recorded twice"
        by_reference[row["reference"]] = row
    for entry in accepted if drained else ():
        original = by_id.get(entry["request_id"]) or by_reference.get(entry["reference"])
        repeats = original is not None and original["fingerprint"] == entry["fingerprint"]
        if not repeats and entry["request_id"] not in done:
            yield f"4: {entry['request_id']} has no outcome"


def _order_is_kept(rows: Sequence[Row], accepted: Sequence[Row]) -> Iterable[str]:
    slots = {entry["request_id"]: entry["slot"] for entry in accepted}
    sequences: dict[int, int] = defaultdict(int)
    newest: dict[int, int] = defaultdict(lambda: -1)
    homes: dict[int, int] = {}
    for row in rows:
        partition, sequence = row["partition"], row["sequence"]
        if sequence != sequences[partition] + 1:
            yield f"6: {partition}/{sequences[partition]} is followed by {sequence}"
        sequences[partition] = sequence
        slot = slots.get(row["transaction_id"], -1)
        if row["position"] <= newest[slot]:
            yield f"6: {row['transaction_id']} overtook an older entry of slot {slot}"
        newest[slot] = row["position"]
        if homes.setdefault(slot, partition) != partition:
            yield f"6: slot {slot} is in partitions {homes[slot]} and {partition}"


def _limits_hold(rows: Sequence[Row], balances: Mapping[str, Row]) -> Iterable[str]:
    floors: dict[str, int | None] = defaultdict(int)
    for row in rows:
        if row["status"] not in MOVES or row["kind"] != "transaction":
            continue
        source, limit = row["source_id"], _limit_minor(row)
        if row["allow_overdraft"] and row["overdraft_limit"] is None:
            floors[source] = None
        elif floors[source] is not None:
            floors[source] = min(floors[source], -limit)
    for balance_id, balance in balances.items():
        floor = floors[balance_id]
        available = balance["credit"] - balance["debit"] - balance["inflight_debit"]
        if floor is not None and available < floor:
            yield f"7: {balance_id} has {available} available, {floor} is its limit"


def _limit_minor(row: Row) -> int:
    limit = Fraction(row["overdraft_limit"] or 0) * (row["precision"] or 1)
    return (limit + Fraction(1, 2)).__floor__()


def _holds_add_up(rows: Sequence[Row], holds: Mapping[str, Row]) -> Iterable[str]:
    folded: dict[str, list[int]] = {}
    for row in rows:
        if row["status"] == "INFLIGHT":
            folded[row["transaction_id"]] = [row["precise_amount"], 0, 0]
    for row in rows:
        if row["status"] in MOVES and row["parent_id"] is not None:
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


def _refusals_were_due(rows: Sequence[Row], accepted: Sequence[Row]) -> Iterable[str]:
    """Refusals for lack of funds, weighed with all that was accepted before them.

    Sound for balances whose debits share one slot: of others, a younger debit may have come first.
    """
    slots = {entry["request_id"]: entry["slot"] for entry in accepted}
    debiting: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        if row["source_id"] is not None and row["status"] in MOVES | {"REJECTED"}:
            debiting[row["source_id"]].add(slots.get(row["transaction_id"], -1))
    available: dict[str, int] = defaultdict(int)
    for row in sorted(rows, key=lambda row: row["position"]):
        if row["status"] in MOVES:
            for side, effect in zip(("source_id", "destination_id"), _effects(row), strict=True):
                credit, debit, _, inflight_debit = effect
                available[row[side]] += credit - debit - inflight_debit
        elif row["reason"] in ("insufficient_funds", "overdraft_limit_exceeded"):
            source = row["source_id"]
            room = available[source] + _limit_minor(row)
            if room >= row["precise_amount"] and len(debiting[source]) == 1:
                yield (
                    f"12: {row['transaction_id']} was refused {row['precise_amount']} with "
                    f"{available[source]} available at its turn"
                )
