"""One run from its options to its exit code, where something fails on the way."""

from __future__ import annotations

import gzip
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console
from tests.unit.backfill.builders import builder_of
from tests.unit.backfill.test_backfill_run import receipt_of

from daybook.backfill.run import CHUNK_LINES_MAX
from daybook.backfill.source import open_source
from daybook.cli.backfill_files import Command, _run, run_command
from daybook.cli.exits import Exit
from daybook.client.client import Client
from daybook.client.drafts import drafts
from daybook.client.receipts import Receipt
from daybook.errors import LogRefused
from daybook.requests import Request

MAPPING = """
[transaction]
reference = "{id}"
source = "@World"
destination = "@F"
currency = "EUR"
amount = "{amount}"
precision = 100
"""
LINES = CHUNK_LINES_MAX + 5
FILE = "id,amount\n" + "".join(f"{n},{'x' if n == 3 else 1}\n" for n in range(LINES))


class Door:
    """Takes everything; before each call something happens."""

    def __init__(self, before: Callable[[int], None]) -> None:
        self.calls = 0
        self._before = before

    def enqueue_many(self, requests: Sequence[Request]) -> list[Receipt]:
        self.calls += 1
        self._before(self.calls)
        return [receipt_of(one) for one in drafts(requests, lambda: 1_790_000_000.0)]


def run(folder: Path, before: Callable[[int], None], content: bytes = FILE.encode()) -> int:
    """The exit code of a run of the file. before: is told the number of each call of the log."""
    folder.mkdir()
    (file := folder.parent / "f.csv").write_bytes(content)
    builder = builder_of(MAPPING)
    options: dict[str, Any] = {"patience_seconds": None, "rejects": folder / "r.csv"}
    with open_source(str(file), builder._mapping, "csv") as source:
        client = cast(Client, Door(before))
        return _run(command(file, **options), Console(stderr=True), builder, source, client)


def command(file: Path, **options: Any) -> Command:
    given: dict[str, Any] = dict.fromkeys(Command.__dataclass_fields__, None) | {
        "is_dry_run": False, "is_reversed": False, "is_strict": False, "as_json": False,
    }  # fmt: skip
    return Command(**(given | {"file": str(file)} | options))


def test_rejects_that_cannot_be_kept_at_the_end_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the summary of what was posted, and how to have them."""
    folder = tmp_path / "out"
    code = run(folder, lambda call: shutil.rmtree(folder, ignore_errors=True))
    told = capsys.readouterr().out
    assert code == Exit.UNAVAILABLE
    assert f"{LINES - 1:,}" in told
    assert "1 line not posted, and the reasons could not be kept" in told
    assert "r.csv: No such file or directory. Run it again with another --rejects" in told


def test_a_log_that_refuses_on_the_way_ends_the_run_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the summary and the setting to mend; the rejects so far are kept."""

    def refuse(call: int) -> None:
        if call > 1:
            raise LogRefused("Redis refused the user or the password")

    assert run(tmp_path / "out", refuse) == Exit.UNAVAILABLE
    told = capsys.readouterr()
    assert "Stopped: Redis refused the user or the password; mend the user, the" in told.out
    assert "DAYBOOK_REDIS_URL" in told.out
    assert "trying again" not in told.err
    assert (tmp_path / "out" / "r.csv").exists()


def test_a_log_that_refuses_at_once_is_told_as_by_every_command(tmp_path: Path) -> None:
    """The fault itself, which the command line shows with its next step."""

    def refuse(call: int) -> None:
        raise LogRefused("Redis refused the user or the password")

    with pytest.raises(LogRefused):
        run(tmp_path / "out", refuse, b"id,amount\n1,1\n")


def test_a_file_that_breaks_off_has_a_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was posted before it is said, not only what is wrong."""
    lines = "".join(f"{n},1,{random.randbytes(100).hex()}\n" for n in range(LINES + 200))
    packed = gzip.compress(f"id,amount,note\n{lines}".encode())[:-20]
    assert run(tmp_path / "out", lambda call: None, packed) == Exit.UNAVAILABLE
    told = capsys.readouterr().out
    assert "Stopped: what follows line" in told
    assert "unknown" in told


@pytest.mark.parametrize("is_dry_run", [True, False])
def test_a_rejects_file_that_cannot_be_made_sends_nothing(
    tmp_path: Path, is_dry_run: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is tried before the first line, where rights alone don't tell."""
    (tmp_path / "f.csv").write_text(FILE)
    (tmp_path / "m.toml").write_text(MAPPING)
    name = Path("/proc/x.csv") if is_dry_run else tmp_path / ("long" * 100 + ".csv")
    given = command(
        tmp_path / "f.csv", mapping=tmp_path / "m.toml", rejects=name, is_dry_run=is_dry_run
    )
    if is_dry_run:
        code = run_command(given)
    else:
        builder = builder_of(MAPPING)
        door = Door(lambda call: pytest.fail("something was sent"))
        with open_source(given.file, builder._mapping, "csv") as source:
            code = _run(given, Console(stderr=True), builder, source, cast(Client, door))
    assert code == Exit.BAD_INPUT
    assert f"{name} cannot be written: " in capsys.readouterr().err.replace("\n", "")
