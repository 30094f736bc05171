"""What is told of the parts of an instance."""

from __future__ import annotations

import signal
from pathlib import Path

from daybook.embedded.parts import tail
from daybook.instance import FailingPart, how_it_ended


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
