"""A hold: funds reserved on both sides until they are committed or voided."""

from __future__ import annotations


class Hold:
    """The working copy of one hold. Amounts are minor units; held = committed + voided + open.

    leg_of: the request of which it is a leg. bulk_id: the bulk of which it, or its request, is
    an item. expires_micros, commits_micros: when the remainder is voided, or committed.
    """

    __slots__ = (
        "amount",
        "bulk_id",
        "changed",
        "commits",
        "commits_micros",
        "committed",
        "currency",
        "destination_id",
        "expires_micros",
        "is_new",
        "leg_of",
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
        leg_of: str | None = None,
        bulk_id: str | None = None,
        expires_micros: int | None = None,
        commits_micros: int | None = None,
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
        self.leg_of = leg_of
        self.bulk_id = bulk_id
        self.expires_micros = expires_micros
        self.commits_micros = commits_micros
        self.is_new = is_new
        self.changed = is_new

    @property
    def remainder(self) -> int:
        """What is still open, in minor units."""
        return self.amount - self.committed - self.voided

    def due(self, now_micros: int) -> str | None:
        """What its dates say at this moment: ``commit``, ``void`` or nothing.

        When both dates have come, the earlier one counts; on a tie the commit (ledger semantics,
        section 7).
        """
        expires, commits = self.expires_micros, self.commits_micros
        if expires is not None and expires > now_micros:
            expires = None
        if commits is not None and commits > now_micros:
            commits = None
        if self.remainder == 0 or (expires is None and commits is None):
            return None
        if expires is None or (commits is not None and commits <= expires):
            return "commit"
        return "void"

    def commit(self, amount: int) -> None:
        """Turn ``amount`` of the remainder into posted money."""
        self.committed += amount
        self.commits += 1
        self.changed = True

    def void(self, amount: int) -> None:
        """Release ``amount`` of the remainder."""
        self.voided += amount
        self.changed = True
