"""What a unit of work raises when its batch is to be decided again."""

from __future__ import annotations


class Stale(Exception):  # noqa: N818 - an order to the caller, not an error
    """What a decision took for granted changed meanwhile: roll back and decide the batch again."""
