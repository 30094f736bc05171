"""What entries name, and bare ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from daybook.ledger.entry import LogEntry
from daybook.ledger.ids import ID_LENGTH


def named_by(entries: Sequence[LogEntry], kinds: Any) -> set[str]:
    """Ids of the transactions that these kinds of entries name."""
    return {
        entry.instruction.transaction_id
        for entry in entries
        if isinstance(entry.instruction, kinds)
    }


def bare(public: str) -> str:
    """The UUID of an id: what follows its prefix."""
    return public[-ID_LENGTH:]
