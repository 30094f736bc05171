"""Numbers, sides and texts of files as people and their spreadsheets write them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from tests.unit.backfill.builders import builder_of, built, refused

from daybook.backfill.lines import Reject, balance_id_of
from daybook.backfill.numbers import NumberForm, decimals_max
from daybook.backfill.rows import Row

PLAIN = """
[transaction]
reference = "f-{id}"
source = "@World"
destination = "@F"
currency = "{currency}"
amount = "{amount}"
precision = 100
"""
ROW = {"id": "1", "currency": "EUR", "amount": "10.00"}
GERMAN = """
[csv]
decimal = ","
thousands = "."
"""
ENGLISH = GERMAN.translate(str.maketrans(".,", ",."))
TWO_SIDED = """
[ledger]
name = "L"
[transaction]
reference = "{id}"
currency = "EUR"
amount = "{amount}"
precision = 100
allow_overdraft = true
[[transaction.source]]
when = { type = "credit" }
indicator = "@Cash"
[[transaction.source]]
when = { type = "debit" }
balance = "{account}"
[[transaction.destination]]
when = { type = "credit" }
balance = "{account}"
[[transaction.destination]]
when = { type = "debit" }
indicator = "@Cash"
"""


@pytest.mark.parametrize("cell", ["1.080", "1.070,10", "2.999", "1,080", "1 080", "10.000"])
def test_an_amount_that_may_mean_two_things_is_refused(cell: str) -> None:
    """Unless the mapping says how numbers are written; the cell is shown, and the way out."""
    reject = refused(builder_of(PLAIN), ROW | {"amount": cell})
    assert reject.code == "invalid_amount"
    assert f"{cell!r} in column 'amount'" in reject.reason
    assert "thousands" in reject.reason


@pytest.mark.parametrize(
    ("cell", "minor"),
    [("1.080", 108_000), ("1.070,10", 107_010), ("2.999", 299_900), ("7,5", 750), ("12", 1_200)],
)
def test_a_mapping_says_how_numbers_are_written(cell: str, minor: int) -> None:
    """With decimal and thousands the same cells are what the one who wrote them meant."""
    assert built(builder_of(GERMAN + PLAIN), ROW | {"amount": cell}).minor_amount() == minor


AS_GERMAN = 'decimal = "," and thousands = "."'
AS_ENGLISH = 'decimal = "." and thousands = ","'
COMMA = 'decimal = "," and no thousands'


@pytest.mark.parametrize(
    ("csv", "cell", "said"),
    [
        ("", "1,505", f"if it is 1505, write {AS_ENGLISH} there; if it is 1.505, write {COMMA}"),
        ("", "1.505", f"if it is 1505, write {AS_GERMAN} there; if they are decimals, round them"),
        ("", " 1.50", "without blanks at its ends: or write normalise = true into the mapping"),
        (GERMAN, "1,505", f"as [csv] has {AS_GERMAN}; if it is 1505, write {AS_ENGLISH} there"),
        (GERMAN, "1.505,00", None),
        (
            GERMAN,
            "1,505.00",
            f"like 1.234,50, as [csv] has it; if it is 1505, write {AS_ENGLISH}",
        ),
        (GERMAN, "1.505,123", f"as [csv] has {AS_GERMAN}; if they are decimals, round them"),
        (
            ENGLISH,
            "1,50",
            f"like 1,234.50, as [csv] has it; if it is 1.5, write {COMMA}",
        ),
        (ENGLISH, "1.505", f"as [csv] has {AS_ENGLISH}; if it is 1505, write {AS_GERMAN} there"),
        (ENGLISH, "five", "it must look like 1,234.50, as [csv] has it"),
    ],
)
def test_the_hint_is_of_what_is_not_set(csv: str, cell: str, said: str | None) -> None:
    """What other settings would make of the cell, and never those that it was read by."""
    builder = builder_of(csv + PLAIN)
    if said is None:
        assert built(builder, ROW | {"amount": cell}).minor_amount() == 150_500
        return
    reason = refused(builder, ROW | {"amount": cell}).reason
    assert said in reason
    own = {"": 'decimal = "." and no thousands', GERMAN: AS_GERMAN, ENGLISH: AS_ENGLISH}[csv]
    assert f"write {own}" not in reason


@pytest.mark.parametrize("cell", ["1,080", "1.08", "1.0800", "10.80,5", "1,0,5", ",", "."])
def test_a_cell_of_another_form_is_refused(cell: str) -> None:
    """Three digits after each sign between thousands, and not more decimals than the precision."""
    builder = builder_of(GERMAN + PLAIN)
    assert refused(builder, ROW | {"amount": cell}).code == "invalid_amount"


@pytest.mark.parametrize(
    ("form", "cell", "text"),
    [
        (NumberForm(",", " "), "1\u202f234\u00a0567,8", "1234567.8"),
        (NumberForm(".", ","), "12,34,567.50", "1234567.5"),
        (NumberForm(".", "'"), "-1'234", "-1234"),
        (NumberForm(",", "."), "1.00.000,00", None),
        (NumberForm(".", "'"), "12'34'567", None),
        (NumberForm(), "007", "7"),
        (NumberForm(), ".5", "0.5"),
        (NumberForm(), "٣", None),
        (NumberForm(), "1e9999", None),
        (NumberForm(), "9" * 1_001, None),
    ],
)
def test_forms_of_numbers(form: NumberForm, cell: str, text: str | None) -> None:
    """French and Swiss thousands, Indian groups between commas; nothing of absurd size."""
    number = form.read(cell)
    assert (number.text if number else None) == text


@pytest.mark.parametrize(
    ("csv", "cell", "number"),
    [
        (GERMAN, "0.125", "0.125"),
        (GERMAN, "-0.100", "-0.1"),
        (GERMAN, "00.100", "0.1"),
        (GERMAN, "01.234", "1.234"),
        (ENGLISH, "0,125", "0.125"),
        (ENGLISH, "0,12,345", None),
    ],
)
def test_a_group_does_not_begin_with_a_zero(csv: str, cell: str, number: str | None) -> None:
    """An eighth of a coin is not a hundred and twenty-five: the reason says what it looks like."""
    reject = refused(builder_of(csv + PLAIN), ROW | {"amount": cell})
    assert reject.code == "invalid_amount"
    assert number is None or f"if it is {number}, write decimal" in reject.reason


@pytest.mark.parametrize("cell", ["1,23E+05", "1E5", "12E2", "1e-2", "1.5E3", " 1E5"])
def test_a_number_that_lost_its_digits_is_refused(cell: str) -> None:
    """A spreadsheet's exponent stands for digits that are gone."""
    for csv in ("", GERMAN):
        reason = refused(builder_of(csv + PLAIN), ROW | {"amount": cell}).reason
        assert "is what a spreadsheet leaves of a number when it drops digits" in reason


def test_numbers_of_json_may_have_an_exponent() -> None:
    """They are exact: nothing of them was lost."""
    assert built(builder_of(GERMAN + PLAIN), ROW | {"amount": Decimal("1E2")}).amount == 100


JSON_LINE = '{"as": "it was read"}'


@pytest.mark.parametrize(
    ("changed", "line", "said"),
    [
        (
            {"amount": "1,000.00"},
            JSON_LINE,
            "like 1234.50; if it is 1000, write that without quotes",
        ),
        ({"amount": "1.005"}, JSON_LINE, "precision 100 takes; if it is 1005, write that without"),
        ({"amount": "1e3"}, JSON_LINE, "e3 is what a spreadsheet leaves"),
        ({"id": "\ud83d"}, JSON_LINE, "has half a character"),
        ({"id": "\udcfc"}, "M\udcfcller", "has bytes that are no UTF-8, as JSON is"),
        ({"id": "\x8elut"}, JSON_LINE, "has U+008E as character 3; remove it"),
    ],
)
def test_lines_of_json_are_told_what_fits_json(
    changed: dict[str, Any], line: str, said: str
) -> None:
    """Settings of [csv] are no help there."""
    reject = builder_of(PLAIN).build(Row(2, ROW | changed, content=line))
    assert isinstance(reject, Reject)
    assert said in reject.reason
    assert "[csv]" not in reject.reason


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("column", ["id", "currency", "acct", "group"])
def test_nothing_is_called_true(column: str, flag: bool) -> None:
    """A boolean of JSON is no reference, no currency, no balance and no group."""
    text = PLAIN.replace('"@F"', '"@F-{acct}"') + '[group]\nby = "{group}"\nreference = "{group}"\n'
    row = Row(2, ROW | {"acct": "A", "group": "G"} | {column: flag}, content=JSON_LINE)
    (reject,) = builder_of(text).lines([row])
    assert isinstance(reject, Reject)
    assert f"column {column!r} is the JSON value {str(flag).lower()}" in reject.reason


@pytest.mark.parametrize(
    ("sign", "cell", "minor"),
    [("+", "1.080", 108_000), ("", "1.080,50", 108_050), ("+", Decimal("1.25"), 125)],
)
def test_a_number_of_several_columns_is_written_as_the_others(
    sign: str, cell: Any, minor: int
) -> None:
    """A sign of its own column does not make one euro of a thousand; numbers of JSON stay."""
    text = GERMAN + PLAIN.replace('"{amount}"', '"{sign}{amount}"')
    row = ROW | {"sign": sign, "amount": cell}
    assert built(builder_of(text), row).minor_amount() == minor


@pytest.mark.parametrize(
    ("cents", "said"),
    [("080", "'1.080' of '{amount}.{cents}' has more decimals"), ("x", "'1.x' of '{amount}.{ce")],
)
def test_a_number_of_several_columns_is_refused_as_the_others(cents: str, said: str) -> None:
    """More decimals than the precision has, or no number: the reason shows all of it."""
    builder = builder_of(PLAIN.replace('"{amount}"', '"{amount}.{cents}"'))
    assert said in refused(builder, ROW | {"amount": "1", "cents": cents}).reason
    assert built(builder, ROW | {"amount": "1", "cents": "05"}).minor_amount() == 105


def test_whole_numbers_have_no_decimals() -> None:
    """What is given in minor units is not 5.00."""
    text = PLAIN.replace('amount = "{amount}"', 'precise_amount = "{amount}"')
    assert "has decimals" in refused(builder_of(text), ROW | {"amount": "5.00"}).reason
    assert (decimals_max(1), decimals_max(1_000), decimals_max(3)) == (0, 3, None)


def test_one_number_has_one_text() -> None:
    """10.0 and 10.00 are one reference, of a CSV and of JSON, whatever else they stand beside."""
    builder = builder_of(PLAIN.replace("f-{id}", "f-{id}-{amount}"))
    for cell in ("10", "10.0", "10.00", Decimal("1e1")):
        assert built(builder, ROW | {"amount": cell}).reference == "f-1-10"


@pytest.mark.parametrize("kind", ["Credit", "credit ", "deposit", ""])
def test_a_side_that_no_rule_names_is_refused(kind: str) -> None:
    """A row that is neither of the two moves nothing, and shows what it is."""
    row = {"id": "1", "type": kind, "account": "K", "amount": "100.00"}
    reject = refused(builder_of(TWO_SIDED), row)
    assert reject.reason.count(f"no rule of the mapping fits this line: type = {kind!r}") == 2


def test_rules_may_ignore_case_and_blanks() -> None:
    """Where the mapping says so, Credit and a credit with blanks are a credit."""
    text = TWO_SIDED.replace('"credit" }', '{ equals = "credit", ignore_case = true } }')
    builder = builder_of("normalise = true\n" + text)
    for kind in ("Credit", "credit ", "\u00a0CREDIT\u200b"):
        request = built(builder, {"id": "1", "type": kind, "account": "K ", "amount": "1"})
        assert request.destination == balance_id_of(builder.ledger_id, "K")


def test_rules_may_ask_for_the_sign_of_a_number() -> None:
    """Minus is a spend, plus a deposit, zero is refused, and so is what is no number."""
    text = TWO_SIDED.replace('type = "credit"', 'amount = { sign = "positive" }')
    text = text.replace('type = "debit"', 'amount = { sign = "negative" }')
    text = text.replace('"{amount}"', '{ value = "{amount}", absolute = true }')
    builder = builder_of('[csv]\ndecimal = ","' + text)
    spend = built(builder, {"id": "1", "account": "K", "amount": "-4,50"})
    assert (spend.destination, spend.minor_amount()) == ("@Cash", 450)
    assert built(builder, {"id": "1", "account": "K", "amount": "4,5"}).source == "@Cash"
    zero = refused(builder, {"id": "1", "account": "K", "amount": "0,00"})
    assert "no rule of the mapping fits this line: amount = '0,00'" in zero.reason
    assert "'n/a' in column 'amount'" in refused(builder, {"id": "1", "amount": "n/a"}).reason
    empty = refused(builder, {"id": "1", "account": "K", "amount": " "})
    assert "no rule of the mapping fits this line: amount = ' '" in empty.reason


def test_bytes_that_are_no_text_are_never_dropped() -> None:
    """Of Müller and Möller in another encoding nothing but Mller would be left."""
    for more in ("", "normalise = true\n"):
        for column in ("id", "currency"):
            builder = builder_of(more + PLAIN)
            first = refused(builder, ROW | {column: "M\udcfcller"})
            assert "no text in the encoding of [csv]: write that of the file" in first.reason
            for cell in ("M\udcfcller", "\x8elut\xfd"):  # the fix is said once in a file
                reason = refused(builder, ROW | {column: cell}).reason
                assert "encoding" in reason
                assert "write that of" not in reason


@pytest.mark.parametrize(
    "changed",
    [{"id": "t-9 "}, {"id": "t\u200b9"}, {"id": "t\n9"}, {"currency": "EUR\u00a0"}],
)
def test_what_nobody_sees_is_refused_or_normalised(changed: dict[str, Any]) -> None:
    """A re-export with a blank more would post everything again."""
    reject = refused(builder_of(PLAIN), ROW | changed)
    assert "or write normalise = true into the mapping" in reject.reason
    request = built(builder_of("normalise = true\n" + PLAIN), ROW | changed)
    assert request.reference in {"f-1", "f-t-9", "f-t9", "f-t 9"}
    assert request.currency == "EUR"


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("A\ue000", "has U+E000 as character 4; remove it"),
        ("\x8elut\xfd", "as character 3; remove it. In another encoding it may be a letter: write"),
    ],
)
def test_what_may_be_seen_is_refused_though_cells_are_normalised(cell: str, said: str) -> None:
    """With what helps, and not with a setting that does not, or that is set already."""
    for more in ("", "normalise = true\n"):
        reject = refused(builder_of(more + PLAIN), ROW | {"id": cell})
        assert said in reject.reason
        assert "normalise" not in reject.reason
