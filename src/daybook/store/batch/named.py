"""Bare ids."""

from __future__ import annotations

from daybook.ledger.ids import ID_LENGTH


def bare(public: str) -> str:
    """The UUID of an id: what follows its prefix."""
    return public[-ID_LENGTH:]
