"""Barriers: the marks that a request of several partitions leaves in those beside its home.

Such a request spends from balances of all of them. It stands in the stream of one, its home; in
each of the others a barrier has the same position. Nothing behind a barrier is decided before the
home has been read so far::

    partition 0   ── a ── b ── wide ── c ──     home: decided with the entries of 1 and 2
    partition 1   ── d ─────── ▌ ───── e ──     e waits until the home is past the wide request
    partition 2   ──────────── ▌ ── f ─────     so does f

Once nothing older is left before it, anyone who comes to one of the barriers joins its home and
its own partition: they are locked, read and decided together, in one order (see ``locks``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from daybook.queue.entries import BARRIER, BARRIER_DIGITS_MAX, RawEntry


def is_barrier(raw: RawEntry) -> bool:
    """Whether this entry is no request, but the mark of one in another partition."""
    return BARRIER in raw.flags and not raw.key


def home_of(barrier: RawEntry) -> int:
    """The partition whose request a barrier stands for."""
    return int(barrier.body[:BARRIER_DIGITS_MAX])


def first_closed_barrier(raws: Iterable[RawEntry], unread: Mapping[int, int]) -> RawEntry | None:
    """The first barrier behind which nothing may be read yet.

    unread: position of the first unread entry of each other partition that has one.
    """
    for raw in raws:
        if is_barrier(raw) and raw.body.isdigit():
            first_unread = unread.get(home_of(raw))
            if first_unread is not None and first_unread <= raw.position:
                return raw
    return None
