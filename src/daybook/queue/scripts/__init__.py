"""The scripts that stand in files of their own: what runs on the server in one step."""

from __future__ import annotations

from importlib.resources import files


def _read(name: str) -> str:
    return files("daybook.queue.scripts").joinpath(name).read_text(encoding="utf-8")


CLOCK_SCRIPT = _read("clock.lua")
"""What others begin with: how far the log's clock is believed."""

APPEND_SCRIPT = CLOCK_SCRIPT + _read("append.lua")
MEND_SCRIPT = "#!lua flags=allow-oom\n" + CLOCK_SCRIPT + _read("mend.lua")
"""A server whose memory is full is to be repaired, too."""
REPLY_SCRIPT = _read("reply.lua")
