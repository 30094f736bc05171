"""The names of the log's keys."""

from __future__ import annotations

from collections.abc import Sequence


class Keys:
    """The names of the log's keys in one namespace."""

    def __init__(self, namespace: str) -> None:
        self.prefix = f"{{{namespace}}}:"
        self.state = f"{self.prefix}state"
        self.clock = f"{self.prefix}clock"
        self.cursors = f"{self.prefix}cursors"
        self.replied = f"{self.prefix}replied"
        self.told = f"{self.prefix}told"
        self.workers = f"{self.prefix}workers"
        self.asked = f"{self.prefix}asked"

    def log(self, partition: int) -> str:
        """The stream of a partition."""
        return f"{self.prefix}log:{partition}"

    def large(self, partition: int) -> str:
        """The stream of marks: the id and the bytes of each large entry of a partition."""
        return f"{self.prefix}large:{partition}"

    def bell(self, partition: int) -> str:
        """The mark that says a partition's doorbell has been rung."""
        return f"{self.prefix}bell:{partition}"

    def worker(self, name: str) -> str:
        """What a worker says of itself."""
        return f"{self.prefix}worker:{name}"

    def answer(self, answer_id: str) -> str:
        """Where a worker leaves what a dry run has shown."""
        return f"{self.prefix}answer:{answer_id}"

    def outcome(self, key: str) -> str:
        """Where workers write the outcome of a request."""
        return f"{self.prefix}outcome:{key}"

    def queued(self, key: str) -> str:
        """Where an append leaves the mark of what is queued. Producers may write it.

        Under the key of an id it may stand for another one, that of its reference."""
        return f"{self.prefix}queued:{key}"

    def known(self, keys: Sequence[str]) -> list[str]:
        """Where to ask for what is known of each key, see ``known_values``."""
        return [place(key) for key in keys for place in (self.outcome, self.queued)]
