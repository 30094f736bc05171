"""Rows become requests by the rules of the mapping."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.unit.backfill.builders import NOW, builder_of, built, refused

from daybook.backfill.lines import Line, balance_id_of, ledger_id_of
from daybook.backfill.loading import check_mapping, load_mapping
from daybook.backfill.mapped_lines import KEY_LENGTH_MAX, LineBuilder
from daybook.backfill.rows import Row
from daybook.requests import TransactionRequest, load_json

EXAMPLES = Path(__file__).parents[3] / "examples"
ZEROS = "0x" + "0" * 40

FIELDS = """
[ledger]
name = "Shop"
[transaction]
reference = "{id}"
source = "@World"
destination = { balance = "{account}" }
currency = "{currency}"
amount = "{amount}"
precision = "{precision}"
overdraft_limit = "{limit}"
allow_overdraft = "{overdraft}"
effective_date = { column = "on", optional = true }
meta_data = { note = "{note}", sum = "{amount} {currency}", more = "{more}" }
"""
ROW = {"id": "1", "account": "A", "currency": "EUR", "amount": "1.50", "precision": "100"}


def bank_row(**changed: str) -> dict[str, str]:
    row = {
        "trans_id": "7", "account_id": "42", "date": "930131", "type": "PRIJEM", "amount": "9.90",
        "operation": "", "k_symbol": "", "bank": "", "account": "", "balance": "9.90",
    }  # fmt: skip
    return row | changed


@pytest.mark.parametrize(
    ("changed", "other"),
    [
        ({"operation": "VKLAD"}, "@Cash"),
        ({"operation": "VYBER", "type": "VYBER"}, "@Cash"),
        ({"operation": "VYBER", "type": "VYDAJ", "k_symbol": " "}, "@Cash"),
        ({"operation": "PREVOD Z UCTU", "bank": "AB"}, "@Bank-AB"),
        ({"operation": "PREVOD NA UCET", "type": "VYDAJ", "bank": ""}, "@Bank-unknown"),
        ({"k_symbol": "UROK"}, "@Interest"),
        ({"operation": "VYBER", "type": "VYDAJ", "k_symbol": "SLUZBY"}, "@Fees"),
        ({"operation": "VYBER", "type": "VYDAJ", "k_symbol": "SANKC. UROK"}, "@Fees"),
        ({"operation": "VYBER KARTOU", "type": "VYDAJ"}, "@World"),
    ],
)
def test_the_bank_example_names_the_other_side(changed: dict[str, str], other: str) -> None:
    """PRIJEM credits the account from the side that the row implies, VYDAJ and VYBER debit it."""
    builder = LineBuilder(load_mapping(EXAMPLES / "bank-csv.toml"))
    request = built(builder, bank_row(**changed))
    account = balance_id_of(builder.ledger_id, "42")
    credited = changed.get("type", "PRIJEM") == "PRIJEM"
    sides = (other, account) if credited else (account, other)
    assert (request.source, request.destination) == sides
    assert request.reference == "pkdd99-7"
    assert request.minor_amount() == 990
    assert request.allow_overdraft
    assert request.effective_date == datetime(1993, 1, 30, 23, tzinfo=UTC)


def test_a_mapping_may_have_amounts_rounded() -> None:
    """More decimals than the precision are refused, line by line, unless the mapping says so."""
    tables = tomllib.loads((EXAMPLES / "bank-csv.toml").read_text(encoding="utf-8"))
    row = bank_row(amount="2.995")
    line = refused(LineBuilder(check_mapping(tables)), row)
    assert (line.code, "more decimals than precision 100" in line.reason) == (
        "invalid_amount",
        True,
    )
    tables["transaction"]["rounding"] = "half_up"
    assert built(LineBuilder(check_mapping(tables)), row).minor_amount() == 300


def test_a_row_that_no_rule_fits_is_refused() -> None:
    """An unknown type of the bank is refused for both sides, with the key of the field."""
    reject = refused(LineBuilder(load_mapping(EXAMPLES / "bank-csv.toml")), bank_row(type="STORNO"))
    assert (reject.number, reject.code, reject.reference) == (2, "malformed", "pkdd99-7")
    assert reject.reason.count("no rule of the mapping fits") == 2


def test_the_token_example_lets_only_the_outside_overdraw() -> None:
    """Forty zeros are @World on either side; only as a source do they allow an overdraft."""
    builder = LineBuilder(load_mapping(EXAMPLES / "token-transfers.toml"))
    row = {"block": "1", "log_index": "2", "token": "0xt", "tx": "0xabc", "value": "9" * 78}
    minted = built(builder, row | {"from": ZEROS, "to": "0xb"})
    burnt = built(builder, row | {"from": "0xb", "to": ZEROS})
    holder = balance_id_of(builder.ledger_id, "0xt/0xb")
    assert (minted.source, minted.destination) == ("@World", holder)
    assert (burnt.source, burnt.destination) == (holder, "@World")
    assert (minted.allow_overdraft, burnt.allow_overdraft) == (True, False)
    assert minted.reference == "0xabc-2"
    assert minted.precise_amount == 10**78 - 1


def test_both_token_examples_mean_the_same_balances() -> None:
    """What the openings credit is what the transfers debit."""
    openings = LineBuilder(load_mapping(EXAMPLES / "token-openings.toml"))
    opening = openings.build(Row(2, {"token": "0xt", "address": "0xb", "value": "4"}))
    assert isinstance(opening, Line)
    transfers = LineBuilder(load_mapping(EXAMPLES / "token-transfers.toml"))
    assert opening.keys == {balance_id_of(transfers.ledger_id, "0xt/0xb"): "0xt/0xb"}


def test_a_row_of_blnk_keeps_its_reference_its_date_and_its_balances() -> None:
    """An indicator is the internal balance of that name; any other id is a key."""
    builder = LineBuilder(load_mapping(EXAMPLES / "blnk-transactions.toml"))
    row = {
        "reference": "ref_1",
        "precise_amount": "123456789012345678901",
        "precision": "100",
        "currency": "USD",
        "description": "",
        "created_at": "2024-03-10 23:30:00.123456",
        "source": "bln_1",
        "source_name": "World",
        "destination": "bln_2",
        "destination_name": "",
    }
    request = built(builder, row)
    assert (request.source, request.reference) == ("@World", "ref_1")
    assert request.destination == balance_id_of(builder.ledger_id, "bln_2/USD")
    assert (request.precise_amount, request.precision) == (123456789012345678901, 100)
    assert request.effective_date == datetime(2024, 3, 10, 23, 30, 0, 123456, UTC)


def test_ids_never_change() -> None:
    """Ids derived from names are the same in every version: a rerun must find what it created."""
    ledger_id = ledger_id_of("Shop")
    assert ledger_id == "ldg_dda243b5-c0fe-5146-ad65-e2a95a3c563f"
    assert balance_id_of(ledger_id, "A") == "bln_54a2d2ec-c77f-5ad7-ae43-88f9cdaf6163"


def test_a_balance_keeps_its_key_as_external_id() -> None:
    """The creation of an application balance names ledger, currency and external id."""
    builder = builder_of(FIELDS)
    line = builder.build(Row(2, ROW))
    assert isinstance(line, Line)
    ((balance_id, key),) = line.keys.items()
    assert isinstance(line.request, TransactionRequest)
    request = builder.balance_request(balance_id, key, line.request.currency)
    assert json.loads(request.body()) == {
        "v": 1, "kind": "balance", "ledger_id": ledger_id_of("Shop"), "currency": "EUR",
        "balance_id": balance_id, "meta_data": '{"external_id":"A"}',
    }  # fmt: skip
    ledger = builder.ledger_request()
    assert ledger is not None
    assert (ledger.name, ledger.ledger_id) == ("Shop", builder.ledger_id)


def test_empty_columns_leave_optional_fields_out() -> None:
    """An empty cell is no limit, no date, no flag and no member of meta_data."""
    request = built(builder_of(FIELDS), ROW | {"limit": "", "overdraft": "", "on": " ", "note": ""})
    assert request.meta_data == {"sum": "1.5 EUR"}
    assert request.effective_date is None
    assert not request.allow_overdraft


def test_text_of_a_csv_becomes_typed_values() -> None:
    """Flags, limits and dates of a CSV are read from their text."""
    row = ROW | {"limit": "2.5", "overdraft": "TRUE", "on": "2026-04-01T10:00:00+02:00"}
    request = built(builder_of(FIELDS), row)
    assert request.allow_overdraft
    assert request.overdraft_limit == Decimal("2.5")
    assert request.effective_date == datetime(2026, 4, 1, 8, tzinfo=UTC)


def test_json_values_keep_their_digits_and_types() -> None:
    """Numbers of NDJSON reach the request as exact decimals, in meta_data too."""
    row = load_json(
        '{"id": 17, "account": "A", "currency": "EUR", "amount": 0.29, "precision": 100,'
        ' "overdraft": true, "note": 12345678901234567890.123456789, "more": {"a": [1, null]}}'
    )
    request = built(builder_of(FIELDS), row)
    assert request.reference == "17"
    assert request.minor_amount() == 29
    assert b"12345678901234567890.123456789" in request.body()
    assert request.meta_data is not None
    assert request.meta_data["more"] == {"a": [1, None]}


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        ({"id": ""}, "malformed", "reference: column 'id' is empty"),
        ({"account": ""}, "malformed", "destination: column 'account' is empty"),
        ({"account": "\udcff"}, "malformed", "bytes that are no text"),
        (
            {"amount": "1,50"},
            "invalid_amount",
            "'1,50' in column 'amount' is no number",
        ),
        ({"amount": ""}, "invalid_amount", "amount: column 'amount' is empty"),
        ({"amount": Decimal("1234567890.1234567")}, "invalid_amount", "use precise_amount"),
        ({"amount": "2.999"}, "invalid_amount", "'2.999' in column 'amount' has more decimals"),
        ({"precision": "0"}, "invalid_precision", "from 1 to 10^30"),
        ({"overdraft": "yes"}, "malformed", "must be true or false"),
        ({"on": "yesterday"}, "malformed", "'yesterday' in column 'on' is not a date"),
        ({"on": "2026-05-03"}, "malformed", "more than a day in the future"),
        ({"currency": ["EUR"]}, "malformed", "column 'currency' is a JSON list"),
        ({"note": "a\x00b"}, "malformed", "NUL"),
        ({"note": "\udcff"}, "malformed", 'encoding = "cp1252" or "cp1250"'),
    ],
)
def test_a_bad_cell_is_refused_with_its_code(changed: Any, code: str, said: str) -> None:
    """A cell that breaks a rule gives the ledger's own code and names the field."""
    reject = refused(builder_of(FIELDS), ROW | changed)
    assert reject.code == code
    assert said in reject.reason


def test_all_errors_of_a_line_come_at_once() -> None:
    """A line with several bad cells names them all, coded by the one that takes precedence."""
    reject = refused(builder_of(FIELDS), ROW | {"account": "", "amount": "-1", "precision": "x"})
    assert reject.code == "malformed"
    for field in ("destination: ", "amount: ", "precision: "):
        assert field in reject.reason


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        ('format = "%d.%m.%Y %H:%M"', "31.03.2024 12:00", datetime(2024, 3, 31, 12, tzinfo=UTC)),
        ('format = "%d.%m.%Y", timezone = "-05:30"', "1.2.2024",
         datetime(2024, 2, 1, 5, 30, tzinfo=UTC)),
        ('format = "%Y-%m-%d %z", timezone = "+09:00"', "2024-02-01 +0100",
         datetime(2024, 1, 31, 23, tzinfo=UTC)),
        ('timezone = "UTC"', "2024-02-01", datetime(2024, 2, 1, tzinfo=UTC)),
        ('timezone = "Europe/Berlin"', "2024-10-27 02:30",
         datetime(2024, 10, 27, 0, 30, tzinfo=UTC)),
        ('timezone = "America/Sao_Paulo"', "2018-11-04", datetime(2018, 11, 4, 3, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_dates_follow_their_format_and_zone(rule: str, text: str, expected: datetime) -> None:
    """The zone of the mapping counts for dates without; of a time that came twice the first."""
    mapping = FIELDS.replace('column = "on", optional = true', f'column = "on", {rule}')
    assert built(builder_of(mapping), ROW | {"on": text}).effective_date == expected


@pytest.mark.parametrize("text", ["2024-03-31 02:30", "2024-03-31T02:00:00"])
def test_a_time_that_never_came_is_refused(text: str) -> None:
    """The clocks were put forward over it: nobody knows which moment is meant."""
    rule = 'column = "on", timezone = "Europe/Berlin"'
    mapping = FIELDS.replace('column = "on", optional = true', rule)
    reason = refused(builder_of(mapping), ROW | {"on": text}).reason
    assert f"{text!r} in column 'on' is no time in Europe/Berlin: the clocks were put" in reason


def test_a_date_a_little_ahead_is_accepted() -> None:
    """Up to a day in the future is allowed: clocks differ, time zones too."""
    moment = NOW + timedelta(hours=23)
    assert built(builder_of(FIELDS), ROW | {"on": moment.isoformat()}).effective_date == moment


def test_a_transaction_id_of_the_right_slot_is_minted() -> None:
    """Each line asks for an own id, so that an answer can be told from an earlier run's."""
    first, second = (built(builder_of(FIELDS), ROW) for _ in range(2))
    assert first.transaction_id != second.transaction_id
    assert first.body() == second.body()


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("A\x00B", "'A\\x00B' has U+0000 as character 2"),
        ("k" * (KEY_LENGTH_MAX + 1), "the balance's key '{account}' is longer than"),
        ("\udce9", "'\\udce9' has bytes that are no text in the encoding"),
        ("A ", "'A ' ends with U+0020 (SPACE); remove it; or write normalise = true"),
    ],
)
def test_a_key_that_cannot_be_stored_is_a_rejected_line(key: str, said: str) -> None:
    """A key with NUL, beyond its bound, of broken bytes or with unseen blanks is malformed."""
    reject = refused(builder_of(FIELDS), ROW | {"account": key})
    assert reject.code == "malformed"
    assert f"destination: {said}" in reject.reason


def test_the_longest_key_fits_into_a_balance() -> None:
    """A key at its bound is an external_id even when each character is two escapes in JSON."""
    builder, key = builder_of(FIELDS), "\U0001f600" * KEY_LENGTH_MAX
    balance_id = built(builder, ROW | {"account": key}).destination
    assert balance_id is not None
    request = builder.balance_request(balance_id, key, "EUR")
    assert request.meta_data == {"external_id": key}


def test_dates_come_from_their_columns() -> None:
    """When it is applied, and when a hold ends, may lie far ahead."""
    rules = """
scheduled_for = { column = "when", optional = true }
inflight = true
inflight_expiry_date = { column = "ends", format = "%d.%m.%Y" }
inflight_commit_date = { column = "commits", optional = true }
"""
    builder = builder_of(FIELDS + rules)
    row = ROW | {"when": "2026-06-01T00:00:00Z", "ends": "1.7.2026", "commits": ""}
    request = built(builder, row)
    assert request.scheduled_for == datetime(2026, 6, 1, tzinfo=UTC)
    assert request.inflight_expiry_date == datetime(2026, 7, 1, tzinfo=UTC)
    assert request.inflight_commit_date is None
    reject = refused(builder, row | {"ends": "soon"})
    assert "inflight_expiry_date: 'soon' in column 'ends' is not a date" in reject.reason
