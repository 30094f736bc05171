"""A mapping is checked as a whole, before the first line is read."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from daybook.backfill.loading import check_mapping, load_mapping
from daybook.backfill.mapping import Mapping
from daybook.backfill.template import CellError, parse_template
from daybook.errors import ConfigError

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.toml"))

MINIMAL = """
[transaction]
reference = "r-{id}"
source = "@World"
destination = "@Sales"
currency = "EUR"
amount = "{amount}"
precision = 100
"""


def mapping_of(text: str) -> Mapping:
    return check_mapping(tomllib.loads(text, parse_float=Decimal))


def errors_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        mapping_of(text)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_all_errors_come_at_once_with_their_paths() -> None:
    """Every mistake of a mapping is reported together, each with the path of its key."""
    errors = errors_of(
        """
        formt = "csv"
        [csv]
        delimiter = ";;"
        [transaction]
        reference = "{id"
        currency = 1.5
        amount = "{amount}"
        precision = 100
        effective_date = { column = "d", format = "%Q", timezone = "Mars/Olympus" }
        [[transaction.source]]
        when = { a = { empy = true } }
        indicator = "@A"
        [[transaction.source]]
        balnce = "{b}"
        """
    )
    paths = [error.partition(": ")[0] for error in errors]
    assert paths == [
        "csv.delimiter",
        "transaction.reference",
        "transaction.source[0].when.a.empy",
        "transaction.source[1].balnce",
        "transaction.destination",
        "transaction.currency",
        "transaction.effective_date.format",
        "transaction.effective_date.timezone",
        "formt",
    ]
    assert "did you mean empty?" in errors[2]
    assert "did you mean balance?" in errors[3]
    assert "did you mean format?" in errors[8]


def test_what_tables_lack_is_told_beside_what_is_wrong_in_them() -> None:
    """An amount, a party, a ledger: not only once everything else is right."""
    errors = errors_of(
        """
        formt = "csv"
        [transaction]
        reference = "{id}"
        source = { party = "who" }
        destination = { balance = "{a}" }
        currency = " "
        precision = 0
        meta_data = { a = "\\u0000", b = "\\u0000" }
        rounding = [{ value = "up" }, { value = "down" }]
        [csv]
        thousands = "."
        skip = -1
        [parties]
        one = { party = "two" }
        two = { party = "one" }
        """
    )
    told = "\n".join(errors)
    for said in (
        "formt: ", "csv: thousands is a sign", "csv.skip: ", "transaction.currency: ",
        "transaction.precision: ", "a: the value",
        "b: the value", "rule [0] has no `when`", "the value up", "the value down",
        "one refers to a party", "two refers to a party", "transaction: needs amount",
        "mapping: there is no [[parties.who]]", "mapping: application balances need a ledger",
    ):  # fmt: skip
        assert said in told, said


def test_a_name_that_no_ledger_can_have_is_an_error_like_any_other() -> None:
    """What requests refuse, a mapping refuses too, beside its other mistakes."""
    assert errors_of(f'order_by = 3\n[ledger]\nname = " Clients"\nid = "ldg"\n{MINIMAL}') == [
        "order_by: Input should be a valid string",
        "ledger.name: begins with U+0020 (SPACE); remove it",
        "ledger.id: must look like ldg_<uuid>, in lower case",
    ]


DATE = 'effective_date = {{ column = "day", format = "{}" }}'
DATE_PATH = "transaction.effective_date"


@pytest.mark.parametrize(
    "format_text", ["%Y-%m", "%y%m%d", "%d %b %Y %I:%M %p", "%Y-%m-%d %H:%M %z", "%Y-%m-%d %%Z"]
)
def test_formats_that_tell_moments_apart(format_text: str) -> None:
    """Months, short years, halves of a day and offsets are fine."""
    assert mapping_of(MINIMAL + DATE.format(format_text)).transaction.effective_date


def test_a_condition_that_can_never_hold_is_told() -> None:
    """Cells lose their blanks, and the next rule would take what this one was meant for."""
    rules = 'description = [{ when = { kind = ["sale", "sale "] }, value = "a" }, { value = "b" }]'
    (error,) = errors_of("normalise = true\n" + MINIMAL + rules)
    assert error.endswith("when asks for 'sale ', which no cell is with normalise = true: "
                          "write 'sale'")  # fmt: skip
    assert mapping_of(MINIMAL + rules)


@pytest.mark.parametrize(
    ("line", "path", "fix"),
    [
        ('allow_overdraft = "yes"', "transaction.allow_overdraft", "must be true or false"),
        ("[csv]\nline_feeds = 1", "csv.line_feeds", "must be true or false, without quotes"),
        ('[csv]\nskip = "3"', "csv.skip", "must be a whole number, without quotes"),
        (
            'description = [{ when = { a = { empty = "no" } }, value = "b" }]',
            "transaction.description[0].when.a.empty",
            "true or false, without",
        ),
        (
            'effective_date = { column = "d", optional = "off" }',
            "transaction.effective_date.optional",
            "true or false, without",
        ),
        ('inflight = [{ value = "{f}" }, { value = true }]', "transaction.inflight", "[0]"),
        ("effective_date = { column = 1 }", "transaction.effective_date.column", "string"),
        ("description = []", "transaction.description", "at least 1"),
        ("meta_data = { note = [] }", "transaction.meta_data.note", "at least 1"),
        (DATE.format("%d.%m."), f"{DATE_PATH}.format", "has no year"),
        (DATE.format("%Y-%m-%d %I:%M"), f"{DATE_PATH}.format", "add %p"),
        (DATE.format("%Y-%m-%d %H:%M %Z"), f"{DATE_PATH}.format", "give timezone, or use %z"),
        ('[csv]\ndelimiter = ";"\nquote = ";"', "csv", "are the same"),
        ('[csv]\ndelimiter = "\\n"', "csv", "delimiter is the end of a line"),
    ],
)
def test_a_wrong_key_is_named_with_its_fix(line: str, path: str, fix: str) -> None:
    """A constant that no request may have, and a rule that is never reached, are errors."""
    (error,) = errors_of(MINIMAL + line)
    assert error.startswith(f"{path}: ")
    assert fix in error


@pytest.mark.parametrize(
    ("old", "new", "fix"),
    [
        ('"@World"', '"World"', "write an indicator (@World)"),
        ('"@World"', '{ party = "other" }', "there is no [[parties.other]]"),
        ('"@World"', '{ balance = "{a}" }', "application balances need a ledger"),
        ('"@World"', '{ indicator = "@A", id = "{b}" }', "exactly one of"),
        ('"@World"', '{ indicator = "{a}" }', "begins with @"),
        ('"@World"', '{ indicator = "@{a}{b}" }', "such as {a}/{b}"),
        ('"r-{id}"', '"{day}{id}"', "write something between them"),
        ('amount = "{amount}"', "", "needs amount"),
        ('"EUR"', '" "', "cannot be blank"),
        ("precision = 100", "precision = 0", "from 1 to 10^30"),
        ("precision = 100", 'precision = "1.5"', "must be an integer"),
        ("precision = 100", 'precision = "100"', "is a number: write it without quotes"),
        ("[transaction]", 'normalise = "no"\n[transaction]', "normalise: must be true or false, w"),
        ("precision = 100", "", "is required: minor units in a major unit, 100 for cents"),
        ("precision = 100", 'precision = 100\nrounding = "down"', 'must be "half_up"'),
    ],
)
def test_a_side_or_field_that_cannot_work_is_refused(old: str, new: str, fix: str) -> None:
    """What could never give a request is refused with the mapping, not line by line."""
    (error,) = errors_of(MINIMAL.replace(old, new))
    assert fix in error


@pytest.mark.parametrize("field", ["by", "reference"])
def test_two_columns_of_a_name_are_kept_apart(field: str) -> None:
    """Account 1 of branch 11 is not account 11 of branch 1; what names nothing may be joined."""
    group = {"by": "{a}", "reference": "{a}"} | {field: "{a}{b}"}
    text = "".join(f'{name} = "{template}"\n' for name, template in group.items())
    (error,) = errors_of(f"{MINIMAL}\n[group]\n{text}")
    assert error.startswith(f"group.{field}: {{a}}{{b}} gives one name for 1 and 11")
    side = '[[transaction.destination]]\nbalance = "x{a}{b}"\n'
    errors = errors_of(MINIMAL.replace('destination = "@Sales"', "") + side)
    assert any("such as {a}/{b}" in error for error in errors)
    assert mapping_of(MINIMAL + 'description = "{a}{b}"')
    assert mapping_of(MINIMAL.replace("r-{id}", "{id}{id}"))  # as long as there is one alone


def test_columns_are_found_wherever_they_are_named() -> None:
    """Templates, conditions, dates and meta_data all count as uses of a column."""
    mapping = mapping_of(
        """
        [ledger]
        name = "L"
        [transaction]
        reference = "{a}-{b}"
        currency = "{c}"
        precise_amount = "{d}"
        precision = "{k}"
        rounding = "{l}"
        allow_overdraft = [{ when = { e = "1" }, value = true }]
        effective_date = { column = "f" }
        source = { balance = "{g}" }
        destination = [{ when = { h = { empty = false } }, indicator = "@X-{h}" }, { id = "{i}" }]
        meta_data = { x = "{j}" }
        """
    )
    assert mapping.columns() == set("abcdefghijkl")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_valid(path: Path) -> None:
    """Every mapping in examples/ loads."""
    assert load_mapping(path).columns()


def test_a_file_that_is_no_mapping_is_a_config_error(tmp_path: Path) -> None:
    """Missing files, broken TOML and bytes that are no text say which file it is."""
    broken = tmp_path / "broken.toml"
    for content in (b"[transaction", b"a = '\xff'"):
        broken.write_bytes(content)
        with pytest.raises(ConfigError, match=r"broken\.toml is not TOML"):
            load_mapping(broken)
    with pytest.raises(ConfigError, match=r"absent\.toml cannot be read"):
        load_mapping(tmp_path / "absent.toml")


def test_templates_render_columns_and_doubled_braces() -> None:
    """Columns are replaced, doubled braces stand for themselves, nested members are read."""
    template = parse_template("{{{a}-{b.c}}}")
    assert template.columns == ("a", "b.c")
    assert template.render({"a": 1, "b": {"c": Decimal("2.50")}}) == "{1-2.5}"
    assert template.render({"a": None}) == "{-}"


def test_a_strict_template_refuses_empty_columns_and_objects() -> None:
    """A name that lacks a part would be another name; an object is no text."""
    template = parse_template("{a}-{b}")
    with pytest.raises(CellError, match="'b' is empty"):
        template.render({"a": "1", "b": " "}, strict=True)
    with pytest.raises(CellError, match="'a' is a JSON list"):
        template.render({"a": [], "b": "1"})


@pytest.mark.parametrize("encoding", ["hex", "rot13", "zlib", "no-such"])
def test_only_encodings_of_text_are_taken(encoding: str) -> None:
    """A codec that does not make text of bytes is refused with the mapping."""
    (error,) = errors_of(f'{MINIMAL}\n[csv]\nencoding = "{encoding}"')
    assert error.startswith("csv.encoding: is not a known encoding of text")


def test_a_mapping_that_nests_too_deep_is_refused(tmp_path: Path) -> None:
    """Brackets beyond what the TOML reader can follow are a ConfigError."""
    path = tmp_path / "deep.toml"
    path.write_text(f"a = {'[' * 100_000}")
    with pytest.raises(ConfigError, match="nests arrays or tables too deep"):
        load_mapping(path)
