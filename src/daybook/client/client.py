"""For producers: hand requests to the log and learn their outcome. Needs Redis, nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from daybook.client.awaiting import Waiting, is_by_name, pause_before, seconds_of, still_unknown
from daybook.client.calls import Calls
from daybook.client.drafts import (
    Draft,
    append_slices,
    conflict,
    draft,
    drafts,
    given_request,
    original_slot,
)
from daybook.client.dry_run import DryRunCalls
from daybook.client.lookup import find
from daybook.client.names import Name, name_of, not_in_log
from daybook.client.receipts import Outcome, Receipt, found_by, outcome_for, receipts_of
from daybook.errors import LogFull, LogRefused
from daybook.queue.connect import connect
from daybook.queue.doorbell import Doorbell
from daybook.queue.entries import BY_ID, read_value
from daybook.queue.log import Log
from daybook.queue.patience import patiently
from daybook.queue.wire import Appended
from daybook.requests import Request
from daybook.settings import Settings, celery_url, read_settings
from daybook.steps import Point, reach

Answer = TypeVar("Answer")


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
        self._log = Log(self._redis, self._settings.namespace)
        self._doorbell = Doorbell(celery_url(self._settings.broker_url or url))
        self._clock = clock

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

    def enqueue(
        self, request: Request | Mapping[str, Any] | None = None, /, **fields: Any
    ) -> Receipt:
        """Append one request to the log.

        request: a request, or a mapping of its fields; or give the fields as keywords. ``kind``
        among them says what is asked for: a transaction by default, a bulk when there are
        ``transactions``. Once this returns, the request survives the death of any process.

        While Redis is away, or when its reply was lost, the same is sent again for up to
        DAYBOOK_RETRY_SECONDS_MAX. Raises MalformedRequest, ReferenceConflict, LogFull,
        LogUnavailable (whether it was accepted is unknown: send the same again).
        """
        return self.enqueue_flagged(given_request(request, fields), BY_ID)

    @property
    def dry_run(self) -> DryRunCalls:
        """What requests would do: ``client.dry_run.refund(…)`` answers a ``Preview``.

        A worker looks at the ledger as it stands at this moment; nothing is enqueued.
        """
        return DryRunCalls(self._doorbell, self._log.take_answer, self._clock)

    def enqueue_flagged(self, request: Request | Mapping[str, Any], flags: str = "") -> Receipt:
        """Append one request whose entry carries ``flags``. Raises like ``enqueue``."""
        return self.append(draft(request, self._clock, flags))

    def append(self, made: Draft) -> Receipt:
        """Append one request that is checked already. Raises like ``enqueue``."""
        (receipt,) = self._append([made])
        if receipt.state == "conflict":
            raise self._conflict(made)
        return receipt

    def enqueue_many(self, requests: Sequence[Request | Mapping[str, Any]]) -> list[Receipt]:
        """Append many requests in order; one receipt each.

        All are validated first: MalformedRequest names each violation behind its index, and
        nothing was appended. A conflict of references does not raise here: see
        ``Receipt.state``. LogFull carries the receipts of those that were accepted before.
        """
        return self._append(drafts(requests, self._clock))

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
        receipt, value = self._find(name_of(reference, id))
        return outcome_for(receipt, value)

    def outcome_of(self, receipt: Receipt) -> Outcome | None:
        """The present outcome of a receipt; None when the log has forgotten it."""
        (value,) = self._outcomes([receipt.key])
        return None if value is None else outcome_for(receipt, value)

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
        if is_by_name(receipt, reference, id):
            receipt, value = self._find(name_of(reference, id))
            outcome = outcome_for(receipt, value)
            if outcome.answered:
                return outcome
        assert receipt is not None
        (found,) = self.wait_many([receipt], seconds)
        if found is None:
            raise still_unknown(receipt, seconds)
        return found

    def wait_many(self, receipts: Sequence[Receipt], timeout: float) -> list[Outcome | None]:
        """The outcomes of many receipts, in their order; None for those still queued in the end.

        timeout: seconds for all of them together.
        """
        waiting = Waiting(receipts)
        started = time.monotonic()
        while True:
            for slice_ in waiting.slices():
                left = max(0.0, timeout - (time.monotonic() - started))
                keys = [receipts[i].key for i in slice_]
                waiting.take(slice_, self._outcomes(keys, left))
            waited = time.monotonic() - started
            if waiting.done or waited >= timeout:
                return waiting.outcomes
            time.sleep(pause_before(waited, timeout))

    def _append(self, made: Sequence[Draft]) -> list[Receipt]:
        receipts: list[Receipt] = []
        for part in append_slices(made):
            reach(Point.DRAFTED)
            try:
                results, bells = self._append_part(part)
            except LogFull as fault:
                fault.accepted = tuple(receipts)
                raise
            reach(Point.APPENDED)
            self._doorbell.ring(bells)
            reach(Point.RUNG)
            receipts += receipts_of(part, results, receipts, self)
        return receipts

    def _append_part(self, part: Sequence[Draft]) -> tuple[list[Appended], list[int]]:
        entries = [item.entry for item in part]
        return patiently(lambda: self._log.append(entries), self._settings.retry_seconds_max)

    def _outcomes(
        self, keys: Sequence[str], seconds_max: float | None = None
    ) -> list[bytes | None]:
        """What stands under outcome keys. seconds_max: a closer bound for trying again."""
        bound = self._settings.retry_seconds_max
        bound = bound if seconds_max is None else min(bound, seconds_max)
        return patiently(lambda: self._log.outcomes(keys), bound)

    def _conflict(self, made: Draft) -> Exception:
        (value,) = self._outcomes([made.entry.key])
        if value is None:  # it expired a moment ago
            return not_in_log(
                Name(made.reference, None if made.reference else made.entry.request_id)
            )
        state = read_value(value)
        body = None
        if state.position is not None:
            with suppress(LogRefused):  # a producer that may not read the log
                partition = original_slot(made, state) % self._log.partitions_at(state.position)
                body = self._log.body_at(partition, state.position)
        return conflict(made, value.decode(), body)

    def _find(self, name: Name) -> tuple[Receipt, bytes]:
        """What a name stands for, and what stands under its key. Raises NotFound."""
        key = name.key
        (value,) = self._outcomes([key])
        receipt = found_by(name, key, value)
        if receipt is None and name.id is not None:
            key = self._log.pointed_to(name.id) or key
            (value,) = self._outcomes([key])
            receipt = found_by(name, key, value)
        if receipt is None and name.id is not None:
            known = find(self._doorbell, self._log.take_answer, name.id)
            if known.key is not None:
                (value,) = self._outcomes([known.key])
                value = known.value or value
                receipt = found_by(name, known.key, value)
        if receipt is None or value is None:
            raise not_in_log(name)
        return receipt, value
