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
COUNT_SCRIPT = _read("count.lua")
"""Counts without touching more than one entry at a time that is large. Nothing lies behind the
greatest id of all, and the server refuses to look there.
"""
FIND_SCRIPT = _read("find.lua")
"""The key of the entry with an id, or where to look on; and how many were looked through.

Large ones are looked through one by one, and only some of them at a time.
"""
FIRST_SCRIPT = _read("first.lua")
"""Ids alone: a first entry may be large."""
INSTALL_SCRIPT = _read("install.lua")
"""A log that is there keeps its number: only a resize changes what entries are routed by. What
can't be read is no number.
"""
FORWARD_SCRIPT = CLOCK_SCRIPT + _read("forward.lua")
"""Workers vouch for the clock, too."""
BEGIN_SCRIPT = CLOCK_SCRIPT + _read("begin.lua")
"""KEYS: state, clock. ARGV: the number of partitions; epoch and newest position of Postgres.

The fence is the present: a worker may still have entries that this log has lost,
and decide them by the number before."""
CATCH_UP_SCRIPT = CLOCK_SCRIPT + _read("catch_up.lua")
"""KEYS: state, clock. ARGV: epoch, number of partitions, fence and newest position of Postgres."""
_CHANGE = _read("change.lua")
"""Change what stands under an outcome key, if it is still what was read."""
ADD_SCRIPT = "#!lua\n" + _CHANGE
"""Refused by a server without memory, like every request of which it would be."""
FORGET_SCRIPT = "#!lua flags=allow-oom\n" + _CHANGE
