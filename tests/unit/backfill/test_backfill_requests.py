"""Lines that are requests themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from daybook.backfill import Line, Reject, RequestLines, Row, open_source
from daybook.errors import ConfigError
from daybook.requests import BulkRequest, TransactionRequest, mint_bulk_id, mint_id, slot_of

NOW = 1_790_000_000.0
UUID = "0198a1b2-0000-7000-8000-000000000001"
BALANCE = f"bln_{UUID}"
HOLD = mint_id("txn", 5)


def built(columns: dict[str, Any]) -> Line | Reject:
    return RequestLines(lambda: NOW).build(Row(3, columns, content="{ .... }"))


def deposit(reference: str, **changes: Any) -> dict[str, Any]:
    return {
        "reference": reference,
        "source": "@World",
        "destination": BALANCE,
        "currency": "USD",
        "precise_amount": 5,
        "precision": 100,
        **changes,
    }


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        ({"kind": "commit", "transaction_id": HOLD}, "reference"),
        ({"kind": "void", "transaction_id": HOLD}, "reference"),
        ({"kind": "refund", "transaction_id": HOLD}, "reference"),
        ({"kind": "cancel", "transaction_id": HOLD}, "reference"),
        ({"kind": "change", "subject_id": BALANCE, "meta_data": {"a": 1}}, "reference"),
        ({"kind": "ledger", "name": "L"}, "ledger_id"),
        ({"kind": "balance", "ledger_id": "general_ledger_id", "currency": "X"}, "balance_id"),
        ({"kind": "identity"}, "identity_id"),
    ],
)
def test_a_line_says_what_makes_it_the_same_when_it_is_run_again(
    columns: dict[str, Any], name: str
) -> None:
    """What has neither a reference nor an id would happen twice; with one it is a line."""
    reject = built(columns)
    assert isinstance(reject, Reject)
    assert (reject.code, reject.reason.startswith(f"{name}: is required in a file")) == (
        "malformed",
        True,
    )
    prefixes = {"ledger_id": "ldg_", "balance_id": "bln_", "identity_id": "idt_"}
    line = built(columns | {name: prefixes.get(name, "") + UUID})
    assert isinstance(line, Line)
    assert line.own_id is None


def test_what_needs_an_id_for_this_run_gets_one() -> None:
    """Transactions and bulks, unless the file names them; internal balances have theirs."""
    line = built(deposit("a"))
    assert isinstance(line, Line)
    assert isinstance(line.request, TransactionRequest)
    assert line.own_id == line.request.transaction_id
    assert line.characters == 8
    bulk = built({"transactions": [deposit("a")]})
    assert isinstance(bulk, Line)
    assert isinstance(bulk.request, BulkRequest)
    assert bulk.own_id == bulk.request.bulk_id
    assert str(bulk.reference).startswith("bulk-")
    slot = slot_of(BALANCE)
    for given in (
        deposit("a", transaction_id=mint_id("txn", slot)),
        {"transactions": [deposit("a")], "bulk_id": mint_bulk_id(slot)},
        {
            "kind": "balance",
            "ledger_id": "general_ledger_id",
            "currency": "X",
            "indicator": "@Fees",
        },
    ):
        named = built(given)
        assert isinstance(named, Line)
        assert named.own_id is None


@pytest.mark.parametrize(
    ("columns", "code", "said"),
    [
        (deposit("a", precise_amount=None, amount=0), "invalid_amount", "amount"),
        (deposit("a", effective_date="2030-01-01T00:00:00Z"), "malformed", "more than a day"),
        (deposit("a", colour="red"), "malformed", "colour: is not a field"),
        ({"kind": "loan", "reference": "a"}, "malformed", "kind: must be one of"),
        ({"transactions": [deposit("x"), deposit("x")], "reference": "a"}, "malformed",
         "transactions[1].reference"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_the_line_s_alone(columns: dict[str, Any], code: str, said: str) -> None:
    """The ledger's own code, the field, and the reference if there is one."""
    reject = built(columns)
    assert isinstance(reject, Reject)
    assert (reject.number, reject.code, reject.reference) == (3, code, "a")
    assert said in reject.reason


def test_only_ndjson_can_be_requests(tmp_path: Path) -> None:
    """A CSV needs a mapping; a broken line is a row with a fault."""
    file = tmp_path / "requests.jsonl"
    file.write_text('{"kind": "identity"}\n[]\n{\n')
    with open_source(str(file), None) as source:
        rows = list(source)
    assert [(row.number, row.fault is None) for row in rows] == [(1, True), (2, False), (3, False)]
    assert rows[0].characters == 21
    with pytest.raises(ConfigError, match="give --mapping"), open_source("x.csv", None):
        pass
