"""One word means one thing: words that were given up stay out, and the word list is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PLACES = ("src", "tests", "docs", "examples", "README.md", "CONTRIBUTING.md", "CHANGELOG.md")
TEXTS = frozenset({".lua", ".mako", ".md", ".out", ".py", ".toml", ".txt"})
WORD_LIST = ROOT / "docs/reference/words.md"


class Banned(NamedTuple):
    """A word that was given up. better: what is said instead. seen: a line that has it."""

    pattern: str
    better: str
    seen: str


BANNED = (
    Banned(
        r"(?i)settl",
        "resolve, answered, cancelled, fix the precision, apply the dates",
        "def settle(hold):",
    ),
    Banned(r"(?i)held[ _-]?over", "deferred", "HeldOver(entry, names)"),
    Banned(
        r"(?i)(?<![a-z])hold(s|ing)?[ _]((some|any|no)thing |it |them |some )?over(?![a-z])",
        "defer",
        "the partitions that hold some over",
    ),
    Banned(r"(?i)(?<![a-z])set(s|ting)?[ _-]aside", "quarantined", "load_set_aside(cursor)"),
    Banned(r"(?i)refusal", "rejection, rejected request", "the Refusals of a batch"),
    Banned(r"(?i)(?<![a-z])whoever", "anyone who, the one that, no matter who", "test_whoever_x()"),
    Banned(r"(?i)(?<![a-z])looking(?![a-z])", "inspect, look", "_LOOKING = 1"),
    Banned(r"(?i)(?<![a-z])asking(?![a-z])", "submit, ask", "from daybook.asking import x"),
    Banned(r"(?i)(?<![a-z])telling(?![a-z])", "report, tell", "class Telling:"),
    Banned(r"(?i)\bfor good\b(?! in\b)", "permanently", "it is gone for good."),
    Banned(r"(?i)\banswers (whether|how|which|who)\b", "returns", "Answers whether it is there."),
    Banned(r"\bMoreRights\b", "NeedsLocks", "raise MoreRights(missing)"),
    Banned(r"\bDecideAgain\b", "Stale", "except DecideAgain:"),
    Banned(r"\bnamed_by_task\b", "with_task_id", "named_by_task(given, task_id)"),
    Banned(r"\bclass Way\b|\bWay\(|: Way\b", "Tactics", "def run(self, way: Way) -> Done:"),
    Banned(
        r"\.brings\b|\bbrings\s*=[^=]|\bbrings: \w+\[|[`\"']brings[`\"']|_brings\b|\bbrings\(",
        "may_credit",
        "waits.brings",
    ),
    Banned(
        r"\bclass Split\b|\bSplit[(\],]|\| Split\b|: Split\b", "MultiLeg", "Transaction | Split"
    ),
)


def texts() -> Iterator[tuple[str, list[str]]]:
    """Every text of the repository that people read, but this one: its name and its lines."""
    for place in PLACES:
        start = ROOT / place
        for path in [start] if start.is_file() else sorted(start.rglob("*")):
            if path.suffix in TEXTS and path != Path(__file__):
                yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8").splitlines()


def banned_in(name: str, lines: list[str]) -> Iterator[str]:
    """Where a text has a banned word, and the better one. Its name counts as a line, too."""
    whole = "\n".join([name, *lines])
    suspected = [banned for banned in BANNED if re.search(banned.pattern, whole)]
    for number, line in enumerate([name, *lines]):
        for banned in suspected:
            found = re.search(banned.pattern, line)
            if found:
                yield f"{name}:{number}: {found.group()!r}: better {banned.better}"


def words() -> list[str]:
    """The left column of the word list; a row may explain several words."""
    rows = re.findall(r"^\| ([^|]+?) \| [^|]+ \|$", WORD_LIST.read_text(encoding="utf-8"), re.M)
    cells = [cell for cell in rows if cell != "word" and not cell.startswith("---")]
    return [word for cell in cells for word in cell.split(", ")]


def test_words_that_were_given_up_stay_out() -> None:
    """No source, test, page or example has a banned word, nor has the name of its file."""
    found = [each for name, lines in texts() for each in banned_in(name, lines)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("banned", BANNED, ids=lambda banned: banned.better)
def test_each_banned_word_is_found(banned: Banned) -> None:
    """A line with the word is told with its place and the better word, and nothing else is."""
    found = list(banned_in("some/file.py", ["fine", banned.seen]))
    assert len(found) == 1
    assert found[0].startswith("some/file.py:2: ")
    assert found[0].endswith(banned.better)


@pytest.mark.parametrize(
    "line",
    [
        "for good in (A, B):",
        "which brings two kinds about",
        "the way to it: Ways differ",
        "a split brain",
        "it is put aside, and the log holds everything over a week old",
        "overlooking, masking, foretelling",
    ],
)
def test_other_words_are_left_alone(line: str) -> None:
    """What only resembles a banned word is no fault."""
    assert list(banned_in("some/file.py", [line])) == []


def test_every_place_is_looked_through() -> None:
    """There are texts in each place, of each sort."""
    names = [name for name, _ in texts()]
    assert {name.split("/")[0] for name in names} == set(PLACES)
    assert {Path(name).suffix for name in names} == TEXTS


def test_the_code_uses_every_word_of_the_list() -> None:
    """Each word of docs/reference/words.md occurs below src/, as a word or within a name."""
    code = " ".join(
        " ".join([name, *lines]).lower() for name, lines in texts() if name.startswith("src/")
    )
    spaced = re.sub(r"[\W_]+", " ", code)
    assert len(words()) > 80
    missing = [word for word in words() if not re.search(rf"\b{word.lower()}(s|es)?\b", spaced)]
    assert missing == []


def test_the_word_list_is_in_order() -> None:
    """Each word has one row, and all are in alphabetical order."""
    assert words() == sorted(set(words()))
