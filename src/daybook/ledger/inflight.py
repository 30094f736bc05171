"""A hold: funds reserved on both sides until they are committed or voided."""

from __future__ import annotations


class Hold:
    """The working copy of one hold. Amounts are minor units; held = committed + voided + open."""

    __slots__ = (
        "amount",
        "changed",
        "commits",
        "committed",
        "currency",
        "destination_id",
        "is_new",
        "precision",
        "source_id",
        "transaction_id",
        "voided",
    )

    def __init__(
        self,
        transaction_id: str,
        source_id: str,
        destination_id: str,
        currency: str,
        precision: int,
        amount: int,
        committed: int = 0,
        voided: int = 0,
        commits: int = 0,
        *,
        is_new: bool = False,
    ) -> None:
        self.transaction_id = transaction_id
        self.source_id = source_id
        self.destination_id = destination_id
        self.currency = currency
        self.precision = precision
        self.amount = amount
        self.committed = committed
        self.voided = voided
        self.commits = commits
        self.is_new = is_new
        self.changed = is_new

    @property
    def remainder(self) -> int:
        """What is still open, in minor units."""
        return self.amount - self.committed - self.voided

    def commit(self, amount: int) -> None:
        """Turn ``amount`` of the remainder into posted money."""
        self.committed += amount
        self.commits += 1
        self.changed = True

    def void(self, amount: int) -> None:
        """Release ``amount`` of the remainder."""
        self.voided += amount
        self.changed = True
