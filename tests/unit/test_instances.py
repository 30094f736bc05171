"""What is told of the parts of an instance."""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

import pytest

from daybook.embedded.folder import DataFolder, check_rights
from daybook.embedded.parts import tail
from daybook.errors import ConfigError
from daybook.instance import (
    INSTANCE_FILE,
    SUPERVISOR_LOCK,
    FailingPart,
    how_it_ended,
    running_instance,
)


def test_an_exit_code_is_told_in_words() -> None:
    """A signal by its name: who looks for code -9 finds nothing."""
    assert how_it_ended(3) == "ended with code 3"
    assert how_it_ended(-signal.SIGKILL) == "was killed by SIGKILL"
    assert how_it_ended(-200) == "was killed by signal 200"
    failing = FailingPart("worker", 3, -signal.SIGKILL, 2.0, "worker.log")
    assert str(failing) == (
        "worker ended 3 times in a row (at last it was killed by SIGKILL); "
        "it is started again after 2 s: see worker.log"
    )
    assert "(" not in str(FailingPart("worker", 3, None, 2.0, "worker.log"))


def test_the_end_of_a_log_is_told_or_that_there_is_none(tmp_path: Path) -> None:
    """A message that ends with a colon and nothing behind it helps nobody."""
    log = tmp_path / "worker.log"
    assert tail(log) == f"; it wrote nothing into {log}"
    log.write_text("")
    assert tail(log) == f"; it wrote nothing into {log}"
    log.write_text("a\nb\n")
    assert tail(log) == f"; the end of {log}:\n  a\n  b"


@pytest.mark.parametrize("content", ["", '{"redis_url": "re', "[]"])
def test_a_damaged_file_of_addresses_is_not_an_instance_that_is_down(
    tmp_path: Path, content: str
) -> None:
    """Something runs there: it is said what to do, and not that nothing runs."""
    (tmp_path / INSTANCE_FILE).write_text(content)
    assert running_instance(tmp_path) == {}  # a crash left it behind
    with (tmp_path / SUPERVISOR_LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(
            ConfigError, match=r"instance\.json is damaged, and an instance runs: `"
        ):
            running_instance(tmp_path)
        (tmp_path / INSTANCE_FILE).unlink()
        assert running_instance(tmp_path) == {}  # it is being started


def test_a_home_that_cannot_be_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No number of the system's, and what to do about it."""
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/home")):
        with pytest.raises(ConfigError, match="set DAYBOOK_HOME to") as caught:
            DataFolder(home).claim()
        assert str(home) in str(caught.value)
        assert "Errno" not in str(caught.value)
    monkeypatch.setattr(os, "access", lambda path, how: False)  # as it is for all but root
    with pytest.raises(ConfigError, match=f"its rights keep you out: chmod 700 {tmp_path}"):
        check_rights(tmp_path)
    check_rights(tmp_path / "none")
