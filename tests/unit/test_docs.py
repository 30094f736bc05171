"""The pages name everything that there is, and their links lead somewhere."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path

import pytest
import typer.main
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import daybook
from daybook import errors
from daybook.cli.commands import app
from daybook.cli.exits import Exit
from daybook.client.receipts import Outcome, Receipt
from daybook.ledger.instructions import Kind
from daybook.ledger.preview import BalancePreview, Figures, Preview, RecordPreview
from daybook.ledger.record import Status
from daybook.ledger.rejection import WAITS_FOR_THE_PAST, Reason
from daybook.requests import LegRequest, bounds, request_models
from daybook.settings import FILE_ENDING, Settings
from daybook.steps import Point
from daybook.store.schema import metadata

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
ROW = re.compile(r"^\| *(?P<first>[^|]+?) *\|(?P<rest>.*)\|$", re.M)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$", re.M | re.S)
PREVIEWED = (BalancePreview, Figures, RecordPreview)
FOREIGN_WORDS = re.compile(
    r"pypi|artifactory|index-url|simple/|issue \d|#\d+\b|/work/|/home/", re.I
)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def rows(name: str) -> dict[str, str]:
    """The rest of each row of a page's tables, by each code word of its first cell."""
    return {
        word: row["rest"]
        for row in ROW.finditer(text_of(name))
        for word in re.findall(r"`([^`]+)`", row["first"])
    }


def missing(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Names without a row, or whose row lacks what belongs there."""
    return [name for name, value in wanted.items() if value not in found.get(name, "\0")]


def commands(command: object, path: str) -> Iterator[str]:
    """Every command below ``command``, with its group."""
    for name, below in getattr(command, "commands", {}).items():
        if getattr(below, "commands", None):
            yield from commands(below, f"{path} {name}")
        else:
            yield f"{path} {name}"


def options(command: object) -> set[str]:
    """Every long option of the commands below ``command``."""
    found = {
        name
        for parameter in getattr(command, "params", ())
        for name in parameter.opts
        if name.startswith("--") and name not in ("--install-completion", "--show-completion")
    }
    return found.union(*map(options, getattr(command, "commands", {}).values()))


def defaults() -> dict[str, str]:
    """The default of each setting as the page writes it; empty for one that follows another."""
    found = {}
    for name, field in Settings.model_fields.items():
        assert field.default is not PydanticUndefined
        found[f"DAYBOOK_{name.upper()}"] = "" if field.default is None else f"`{field.default}`"
    return found


# --- what there is, and no more -------------------------------------------------------------------


def test_every_setting_has_a_row_with_its_default() -> None:
    """docs/reference/settings.md has a row for each setting, with its default, and no other."""
    found = rows("docs/reference/settings.md")
    assert missing(defaults(), found) == []
    assert {name for name in found if name.startswith("DAYBOOK_")} == set(defaults())


def test_pages_mention_no_setting_that_does_not_exist() -> None:
    """Every DAYBOOK_… on any page is a setting, or a variable of the compose file."""
    others = set(re.findall(r"^(DAYBOOK_\w+)=", text_of(".env.example"), re.M))
    for page in PAGES:
        mentioned = set(re.findall(r"DAYBOOK_[A-Z_]*[A-Z]", page.read_text(encoding="utf-8")))
        assert {name.removesuffix(FILE_ENDING) for name in mentioned} <= {*defaults(), *others}, (
            page
        )


def test_every_command_has_a_row() -> None:
    """docs/reference/cli.md has a row for each command of the command line, and no other."""
    existing = set(commands(typer.main.get_command(app), "daybook"))
    found = {name for name in rows("docs/reference/cli.md") if name.startswith("daybook ")}
    assert {name for name in found if not name.endswith("--help")} - {"daybook balance"} == existing
    assert len(existing) >= 17


def test_every_option_is_named() -> None:
    """Each long option of each command stands on some page below docs/."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES if "docs" in page.parts)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
    assert options(typer.main.get_command(app)) - named == set()


def test_commands_on_pages_exist() -> None:
    """Every `daybook …` in a block of code begins with a command that there is."""
    existing = set(commands(typer.main.get_command(app), "daybook"))
    first_words = {command.split()[1] for command in existing}
    for page in PAGES:
        for block in CODE.findall(page.read_text(encoding="utf-8")):
            used = set(re.findall(r"(?:^|[(;&|] ?|worker )daybook ([a-z-]+)", block, re.M))
            assert used <= first_words, page


def test_every_exit_code_has_a_row() -> None:
    """docs/reference/cli.md gives each exit code a meaning."""
    codes = re.findall(r"^\| (\d+) \| \w+", text_of("docs/reference/cli.md"), re.M)
    assert [int(code) for code in codes] == [code.value for code in Exit]


def test_every_rejection_code_has_a_row_in_its_order() -> None:
    """docs/reference/rejections.md lists the codes in their order of precedence, each explained."""
    page = text_of("docs/reference/rejections.md")
    listed = re.findall(r"^\| `(\w+)` \|", page.split("## Rejections that wait")[0], re.M)
    assert listed == [reason.value for reason in Reason]
    waiting = page.split("## Rejections that wait")[1].split("##")[0]
    assert {code for code in listed if f"`{code}`" in waiting} == set(WAITS_FOR_THE_PAST)


def section(page: str, title: str) -> str:
    """The text of one section of a page."""
    return page.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize(
    "model", [*request_models().values(), LegRequest], ids=lambda model: model.__name__
)
def test_every_field_of_a_request_has_a_row(model: type[BaseModel]) -> None:
    """docs/reference/requests.md has a row for each field of each request, and no other."""
    part = section(text_of("docs/reference/requests.md"), model.__name__)
    first_cells = " ".join(row["first"] for row in ROW.finditer(part))
    assert set(re.findall(r"`(\w+)`", first_cells)) == set(model.model_fields)
    for name, field in model.model_fields.items():
        if field.is_required():
            assert re.search(rf"^\| `{name}` \| yes \|", part, re.M), name


@pytest.mark.parametrize(
    ("field", "bound"),
    [
        ("reference", bounds.REFERENCE_LENGTH_MAX),
        ("currency", bounds.CURRENCY_LENGTH_MAX),
        ("ordering_key", bounds.ORDERING_KEY_LENGTH_MAX),
        ("description", bounds.DESCRIPTION_LENGTH_MAX),
        ("meta_data", bounds.META_DATA_BYTES_MAX),
        ("meta_data", bounds.META_DATA_DEPTH_MAX),
        ("meta_data", bounds.NUMBER_DIGITS_MAX),
        ("amount", bounds.JSON_AMOUNT_DIGITS_MAX),
    ],
)
def test_the_bounds_of_a_field_are_said(field: str, bound: int) -> None:
    """The row of a field of TransactionRequest states its bound."""
    part = section(text_of("docs/reference/requests.md"), "TransactionRequest")
    (row,) = re.findall(rf"^\| `{field}` \|.*$", part, re.M)
    assert re.search(rf"\b{bound:,}\b", row), row


def test_kinds_and_bounds_of_requests_are_said() -> None:
    """docs/reference/requests.md names each kind that may be asked for, and how many fit in one."""
    page = text_of("docs/reference/requests.md")
    kinds = page.split("its member `kind` says", 1)[1].split("Without it", 1)[0]
    assert set(re.findall(r"`(\w+)`", kinds)) == set(request_models())
    assert f"1 to {bounds.BULK_ITEMS_MAX:,} of TransactionRequest" in page
    assert f"1 to {bounds.LEGS_MAX:,} legs" in page
    assert f"at most {bounds.BODY_BYTES_MAX:,} bytes" in page
    assert f"{bounds.LEG_BYTES_MAX} more for each leg" in page
    assert f"a bulk has {bounds.BULK_BODY_BYTES_MAX >> 20} MiB" in page


@pytest.mark.parametrize(("column", "values"), [("kind", Kind), ("status", Status)])
def test_what_a_record_can_be_is_said(column: str, values: type[StrEnum]) -> None:
    """docs/reference/tables.md names each kind and each status of a record, and no other."""
    row = rows("docs/reference/tables.md")[column]
    said = set(re.findall(r"`(\w+)`", row)) - {"holds"}
    assert said == {value.value for value in values} - {
        "deadline",
        "resolve",
        "QUEUED",
    }  # never recorded


@pytest.mark.parametrize(
    ("title", "kind"), [("Receipt", Receipt), ("Outcome", Outcome), ("Preview", Preview)]
)
def test_every_field_of_an_answer_is_described(title: str, kind: type) -> None:
    """docs/reference/client.md names each field that a producer gets to read."""
    part = section(text_of("docs/reference/client.md"), title)
    public = {name for name in dir(kind) if not name.startswith("_")} - {"from_dict"}
    if kind is Receipt:
        public -= {"client", "fingerprint", "key"}  # its own means
    assert public - set(re.findall(r"`(\w+)", part)) == set()


def test_every_figure_of_a_preview_is_described() -> None:
    """docs/reference/client.md names what a preview says of a balance and of a record."""
    part = section(text_of("docs/reference/client.md"), "Preview")
    figures = {field.name for kind in PREVIEWED for field in dataclasses.fields(kind)}
    assert figures - set(re.findall(r"`(\w+)", part)) == set()


def test_every_table_is_described() -> None:
    """docs/reference/tables.md names every table, and the columns that readers use."""
    page = text_of("docs/reference/tables.md")
    headings = " ".join(re.findall(r"^## (.+)$", page, re.M))
    named = set(re.findall(r"`(\w+)`", page))
    for table in metadata.sorted_tables:
        assert table.name in headings
        if table.name not in ("partitions", "installation", "deferred_entries"):
            assert {column.name for column in table.columns} - named == set(), table.name


def test_every_point_of_the_pipeline_is_drawn() -> None:
    """docs/how-it-works.md names each point of ``daybook.steps``, and draws those of a batch."""
    page = text_of("docs/how-it-works.md")
    assert {point.value for point in Point} - set(re.findall(r"[a-z]+(?:-[a-z]+)*", page)) == set()
    batch = list(Point)[list(Point).index(Point.LOCKED) : list(Point).index(Point.TRIMMED)]
    assert re.findall(r"Note over W: ([a-z-]+)$", page, re.M) == [point.value for point in batch]


def test_every_error_is_described() -> None:
    """docs/reference/client.md has a row for each error of the package."""
    existing = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.DaybookError)
    }
    assert existing - {"DaybookError"} - set(rows("docs/reference/client.md")) == set()
    assert "`DaybookError`" in text_of("docs/reference/client.md")


@pytest.mark.parametrize(
    "kind",
    [daybook.Client, daybook.AsyncClient, daybook.Reader, daybook.AsyncReader],
    ids=lambda kind: kind.__name__,
)
def test_every_call_is_described(kind: type) -> None:
    """docs/reference/client.md has a row for each public call."""
    described = {name.split("(")[0] for name in rows("docs/reference/client.md")}
    ours = {"enqueue_flagged", "append", "outcome_of"}  # for Daybook's own doors
    calls = {
        name for kind in kind.__mro__ for name in vars(kind) if not name.startswith("_")
    } - ours
    assert calls - described == set()


# --- pages hold together --------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in headings}


@pytest.mark.parametrize("name", NAMES)
def test_relative_links_lead_somewhere(name: str) -> None:
    """Each relative link is a file of the repository, each fragment a heading of that page."""
    page = ROOT / name
    for link in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"https?://", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not fragment or fragment in anchors(target), link


def test_every_page_can_be_found_from_the_index() -> None:
    """docs/index.md links to every page below docs/."""
    index = ROOT / "docs/index.md"
    linked = {(index.parent / link).resolve() for link in LINK.findall(text_of("docs/index.md"))}
    assert {page for page in PAGES if "docs" in page.parts} - linked == {index}


@pytest.mark.parametrize("name", NAMES)
def test_pages_name_no_place_to_download_from(name: str) -> None:
    """No page names a package index, a number of an issue, or a folder of one machine."""
    assert FOREIGN_WORDS.findall(text_of(name)) == []


def test_commands_of_make_on_pages_exist() -> None:
    """Each `make …` in the README and the guide is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.M))
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        used = set(re.findall(r"(?:^|`)make ([a-z-]+)", text_of(name), re.M))
        assert used <= targets, name
    assert {"demo", "test"} <= set(re.findall(r"^make ([a-z-]+)", text_of("README.md"), re.M))


def test_the_examples_that_pages_name_exist() -> None:
    """Each examples/… on a page is a file."""
    for page in PAGES:
        for path in re.findall(r"examples/\w+\.\w+", page.read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), f"{page}: {path}"
