"""The kinds of requests: how each is written, what stands of it in the log, and how that is read.

A new kind is a module with its model, its body and its decoder, and one call of ``add_kind``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, Field, TypeAdapter

from daybook.ledger.instructions import Instruction
from daybook.requests.base import NO_SLOTS, Request


class Decoded:
    """A body that is a request: the engine's instruction, its slot and the id that it asks for.

    slots: of a request that keeps its order in several slots, all of them; else none.
    """

    __slots__ = ("instruction", "request_id", "slot", "slots")

    def __init__(
        self,
        instruction: Instruction,
        slot: int,
        request_id: str,
        slots: frozenset[int] = NO_SLOTS,
    ) -> None:
        self.instruction = instruction
        self.slot = slot
        self.request_id = request_id
        self.slots = slots


class KindOfRequest(NamedTuple):
    """What there is to know of the requests of one kind.

    body: the shape of its body, whose ``kind`` is a Literal with the kind's name. decode: from the
    body, the id of its entry and its time of acceptance (milliseconds since the epoch) to what it
    asks for; raises MalformedRequest. model: as producers write it; None for what only the ledger's
    own processes send.
    """

    body: type[BaseModel]
    decode: Callable[[Any, str, int], Decoded]
    model: type[Request] | None = None


KINDS: dict[str, KindOfRequest] = {}
"""Every kind, by name."""


def add_kind(name: str, kind: KindOfRequest) -> None:
    """Make a kind of requests known."""
    assert name not in KINDS, name
    KINDS[name] = kind
    validate_any.cache_clear()


@cache
def validate_any() -> Callable[[bytes], Any]:
    """What reads a body of any kind. It raises pydantic's ValidationError."""
    bodies = reduce(or_, dict.fromkeys(kind.body for kind in KINDS.values()))
    form: Any = Annotated[bodies, Field(discriminator="kind")]
    adapter: TypeAdapter[Any] = TypeAdapter(form)
    return adapter.validator.validate_json
