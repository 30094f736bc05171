"""An independent, slow model of the ledger: plain requests in order, expected outcomes out.

It shares no code with the engine. A decision lists *every* rule that a request breaks and takes
the first in the order of precedence; amounts are fractions. What may fail half-way is tried on
the state itself, and the state is put back as a whole.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.oracle.actions import Actions
from tests.oracle.amounts import half_up
from tests.oracle.facts import ORDER, Expected, Request
from tests.oracle.money import Money
from tests.oracle.things import Things


class Model(Things, Money, Actions):
    """The whole ledger, one request at a time."""

    def take(self, request: Request, request_id: str, now: int = 0) -> Expected:
        """The outcome of ``request``, accepted under ``request_id`` at ``now`` (microseconds)."""
        self.now = now
        rule: Callable[[Request, str], Expected] = getattr(self, f"_{request['kind']}")
        return rule(request, request_id)


__all__ = ["ORDER", "Model", "half_up"]
