"""The mutants that no test kills, each with the reason why it is no gap in the tests."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NamedTuple

ACCEPTED = Path(__file__).with_name("survivors.toml")


class Survivor(NamedTuple):
    """What no test noticed, by what stays when lines move. change: the lines before → after."""

    file: str
    where: str
    change: str


def accepted() -> dict[Survivor, str]:
    """The survivors that are known, with the reason of each."""
    listed = tomllib.loads(ACCEPTED.read_text(encoding="utf-8")).get("survivor", [])
    return {Survivor(each["file"], each["where"], each["change"]): each["why"] for each in listed}
