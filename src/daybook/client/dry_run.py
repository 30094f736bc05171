"""Dry runs for producers: a worker looks, since they have no database of their own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from daybook.client.calls import Calls
from daybook.client.drafts import draft
from daybook.client.flows import Flows, run
from daybook.ledger.preview import Preview
from daybook.requests import Request


class DryRunCalls(Calls[Preview]):
    """What each request would do, by the methods of a client. Nothing is enqueued."""

    def __init__(self, flows: Flows, clock: Callable[[], float]) -> None:
        self._flows = flows
        self._clock = clock

    def _submit(self, request: Request | Mapping[str, Any]) -> Preview:
        """What the request would do to the ledger as it stands, what is queued left aside.

        Raises MalformedRequest, LogUnavailable; OutcomeUnknown when no worker answers.
        """
        return run(self._flows.preview(draft(request, self._clock)))


class AsyncDryRunCalls(Calls[Coroutine[Any, Any, Preview]]):
    """``DryRunCalls`` for asyncio: the same calls, awaited."""

    def __init__(self, flows: Flows, clock: Callable[[], float]) -> None:
        self._flows = flows
        self._clock = clock

    async def _submit(self, request: Request | Mapping[str, Any]) -> Preview:
        return await self._flows.preview(draft(request, self._clock))
