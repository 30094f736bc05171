"""The list of mutants that no test kills is about the code as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.mutants.survivors import Survivor, accepted

PACKAGE = Path(__file__).parents[2] / "src/daybook"


@pytest.mark.parametrize("survivor", accepted(), ids=lambda survivor: survivor.change)
def test_an_accepted_survivor_is_of_code_that_is_there(survivor: Survivor) -> None:
    """Its file has the function and the line, and a reason says why no test could notice it."""
    text = (PACKAGE / survivor.file).read_text(encoding="utf-8")
    name = survivor.where.rpartition(".")[2]
    assert not name or f"def {name}(" in text or f"class {name}" in text
    before, arrow, after = survivor.change.partition(" → ")
    assert arrow
    assert before != after
    assert " ".join(before.split()) in " ".join(text.split())
    assert len(accepted()[survivor]) > 20
