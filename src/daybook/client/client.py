"""For producers: hand requests to the log and learn their outcome. Needs Redis, nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from daybook.client.awaiting import seconds_of, waited_for
from daybook.client.calls import Calls
from daybook.client.drafts import Draft, draft, drafts
from daybook.client.dry_run import DryRunCalls
from daybook.client.flows import Flows, run
from daybook.client.names import name_of
from daybook.client.receipts import Outcome, Receipt
from daybook.queue.connect import connect
from daybook.queue.doorbell import Doorbell
from daybook.queue.entries import BY_ID, NewEntry
from daybook.queue.log import Log
from daybook.queue.wire import Appended, Call, ReplyT
from daybook.requests import Request
from daybook.settings import Settings, celery_url, read_settings


class Blocking:
    """A transport that blocks the thread. It never suspends, which ``run`` counts on."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def call(self, call: Call[ReplyT]) -> ReplyT:
        return self._log.call(call)

    async def append(self, entries: Sequence[NewEntry]) -> tuple[list[Appended], list[int]]:
        return self._log.append(entries)

    async def ring(self, doorbell: Doorbell, partitions: Sequence[int]) -> None:
        doorbell.ring(partitions)

    async def message(self, send: Callable[[], None]) -> None:
        send()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class Client(Calls[Receipt]):
    """Hands requests to the log, from any thread of one process.

    redis_url: where the log is; by default DAYBOOK_REDIS_URL, or the instance that ``daybook up``
    runs. settings: by default from the environment. clock: seconds since the epoch.

    >>> with Client() as client:  # doctest: +SKIP
    ...     receipt = client.enqueue(
    ...         reference="order-1", source="@World", destination=balance_id,
    ...         currency="USD", amount="19.99", precision=100, allow_overdraft=True)
    ...     outcome = receipt.wait(timeout=5)
    """

    def __init__(
        self,
        redis_url: str | None = None,
        *,
        settings: Settings | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings or read_settings()
        url = redis_url or self._settings.require_redis_url()
        self._redis = connect(url, self._settings, patient=False)
        self._doorbell = Doorbell(celery_url(self._settings.broker_url or url))
        self._clock = clock
        log = Log(self._redis, self._settings.namespace)
        patience = self._settings.retry_seconds_max
        self._flows = Flows(Blocking(log), log.keys, self._doorbell, patience)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. What was accepted stays accepted."""
        self._doorbell.close()
        self._redis.close()

    def _submit(self, request: Request | Mapping[str, Any]) -> Receipt:
        return self.enqueue_flagged(request, BY_ID)

    @property
    def dry_run(self) -> DryRunCalls:
        """What requests would do: ``client.dry_run.refund(…)`` answers a ``Preview``.

        A worker looks at the ledger as it stands at this moment; nothing is enqueued.
        """
        return DryRunCalls(self._flows, self._clock)

    def enqueue_flagged(self, request: Request | Mapping[str, Any], flags: str = "") -> Receipt:
        """Append one request whose entry carries ``flags``. Raises like ``enqueue``."""
        return self.append(draft(request, self._clock, flags))

    def append(self, made: Draft) -> Receipt:
        """Append one request that is checked already. Raises like ``enqueue``."""
        return run(self._flows.append(made, self))

    def enqueue_many(self, requests: Sequence[Request | Mapping[str, Any]]) -> list[Receipt]:
        """Append many requests in order; one receipt each.

        All are validated first: MalformedRequest names each violation behind its index, and
        nothing was appended. A conflict of references does not raise here: see
        ``Receipt.state``. LogFull carries the receipts of those that were accepted before.
        """
        return run(self._flows.append_many(drafts(requests, self._clock), self))

    def status(
        self,
        *,
        reference: str | None = None,
        id: str | None = None,
    ) -> Outcome:
        """The present outcome of a request, by its reference or by its id: one of the two.

        id: of any request, ``txn_…`` or ``bulk_…``; or of a ledger, balance or identity: that of
        its creation. What the log does not know by its id is asked of a worker.

        Raises NotFound when the log knows nothing of it, or no longer; LogUnavailable; with an
        id OutcomeUnknown when no worker answers.
        """
        return run(self._flows.status(name_of(reference, id)))

    def outcome_of(self, receipt: Receipt) -> Outcome | None:
        """The present outcome of a receipt; None when the log has forgotten it."""
        return run(self._flows.outcome_of(receipt))

    def wait(
        self,
        receipt: Receipt | None = None,
        timeout: float | None = None,
        *,
        reference: str | None = None,
        id: str | None = None,
    ) -> Outcome:
        """The outcome of a receipt, waited for up to ``timeout`` seconds.

        Instead of the receipt, ``reference`` or ``id`` as in ``status``. SCHEDULED is an answer
        too: it comes at once, not when the transaction is due. Raises OutcomeUnknown when the time
        is up; with a name what ``status`` raises.
        """
        seconds = seconds_of(timeout)
        return run(self._flows.wait(waited_for(receipt, reference, id), seconds))

    def wait_many(self, receipts: Sequence[Receipt], timeout: float) -> list[Outcome | None]:
        """The outcomes of many receipts, in their order; None for those still queued in the end.

        timeout: seconds for all of them together.
        """
        return run(self._flows.wait_many(receipts, timeout))
