"""The run: lines into the log in the order of the file, outcomes gathered behind them."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from daybook.backfill.checks import Checks
from daybook.backfill.lines import Line, Reject, rejects_of
from daybook.backfill.pace import Clock, Pace
from daybook.backfill.report import Summary, backwards_warning
from daybook.backfill.rows import Row
from daybook.client.drafts import ENQUEUE_MANY_MAX
from daybook.client.receipts import Outcome, Receipt
from daybook.counting import counted
from daybook.errors import ConfigError, LogFull, LogUnavailable
from daybook.ledger.record import Status
from daybook.ledger.rejection import Reason
from daybook.queue.patience import FINAL
from daybook.requests import BalanceRequest, LedgerRequest, Request

CHUNK_LINES_MAX = 1_000
"""Lines handed to the log in one call."""

CHUNK_CHARACTERS_MAX = 16 << 20
"""Characters of JSON lines in one call: a bulk may have megabytes."""

WINDOW_LINES_MAX = 10_000
"""Lines that were sent and await their outcome: what the run keeps in memory."""

WINDOW_CHARACTERS_MAX = 64 << 20
"""Characters of these lines, which the rejects file would repeat."""

BALANCES_REMEMBERED_MAX = 100_000
"""Balances known to be created; a forgotten one is created again, which changes nothing."""

LOG_FULL_RETRIES_MAX = 60
"""Waits for room in the log without one line being accepted."""

LOG_UNAVAILABLE_RETRIES_MAX = 8
RETRY_SECONDS_MIN = 0.25
RETRY_SECONDS_MAX = 10.0
"""A pause doubles between these two."""

WAIT_SLICE_SECONDS = 1.0
"""How long one look at the outcomes lasts, so that Ctrl-C and the progress bar stay alive."""


class Door(Protocol):
    """What a run needs of ``daybook.Client``."""

    def enqueue_many(self, requests: Sequence[Request]) -> list[Receipt]:
        """Append in order; a receipt each."""
        ...

    def wait_many(self, receipts: Sequence[Receipt], timeout: float) -> list[Outcome | None]:
        """The outcomes, None for those that are still open after ``timeout`` seconds."""
        ...


class Builder(Protocol):
    """What makes requests of rows: a ``LineBuilder`` or ``RequestLines``."""

    def ledger_request(self) -> LedgerRequest | None:
        """The ledger that must be there first."""
        ...

    def balance_request(self, balance_id: str, key: str, currency: str) -> BalanceRequest:
        """The balance with this key, which a line names."""
        ...

    def lines(self, rows: Iterable[Row]) -> Iterator[Line | Reject]:
        """The requests of rows, in order; a reject for each row that is none."""
        ...


@dataclass(frozen=True, slots=True)
class _Sent:
    """A line in the log whose outcome is awaited. rows, own_id, characters: see ``Line``."""

    rows: tuple[Row, ...]
    characters: int
    reference: str | None
    own_id: str | None
    receipt: Receipt

    @property
    def is_new(self) -> bool:
        """Whether the log did not know it, as far as it says."""
        if self.own_id is None:
            return self.receipt.state != "duplicate"
        return self.receipt.id == self.own_id


class _Stopped(Exception):  # noqa: N818 - the run ends early on purpose
    """The log cannot be used, or nothing is posted any more."""


class Backfill:
    """One run of one file.

    door: the client. reject: is told each line that moves nothing. say: is told, in a sentence,
    why the run waits. lines_per_second: None for as fast as it goes. patience_seconds: how long
    no outcome at all may come before the run stops; None does not wait for outcomes.
    """

    def __init__(
        self,
        door: Door,
        builder: Builder,
        *,
        reject: Callable[[Reject], None],
        say: Callable[[str], None],
        lines_per_second: float | None = None,
        patience_seconds: float | None = 120.0,
        clock: Clock | None = None,
    ) -> None:
        self.summary = Summary()
        self._checks = Checks()
        self._door = door
        self._builder = builder
        self._reject = reject
        self._say = say
        self._clock = clock or Clock()
        self._pace = Pace(lines_per_second, self._clock)
        self._patience_seconds = patience_seconds
        self._window: deque[list[_Sent]] = deque()
        self._balances: OrderedDict[str, None] = OrderedDict()

    def run(self, rows: Iterable[Row]) -> Iterator[Summary]:
        """Post every row; yields the running summary after each chunk, for the progress bar.

        ``summary.stopped`` says why when it ended early; what was accepted until then is safe.
        Raises ConfigError when the mapping's ledger id belongs to another ledger or the file can't
        be read any further, LogRefused and LogNotInstalled at once.
        """
        started = self._clock.now()
        try:
            self._create_ledger()
            for chunk in self._chunks(rows):
                self._send(chunk)
                self._note_dates()
                self.summary.seconds = self._clock.now() - started
                yield self.summary
            while self._window:
                self._gather()
                self.summary.seconds = self._clock.now() - started
                yield self.summary
        except _Stopped as stop:
            self.summary.stopped = str(stop)
        finally:
            self.summary.unknown += sum(len(i.rows) for sent in self._window for i in sent)
            self._window.clear()
            self.summary.seconds = self._clock.now() - started

    def _note_dates(self) -> None:
        """Say it at once, when dates begin to run backwards: what was not sent can be held back."""
        first = self._checks.first_backwards
        if first is not None and not self.summary.dates_backwards:
            self._say(backwards_warning(first))
        self.summary.dates_backwards = self._checks.backwards

    def _create_ledger(self) -> None:
        request = self._builder.ledger_request()
        if request is None:
            return
        (receipt,) = self._accepted([request])
        if receipt.state == "conflict":
            raise ConfigError(
                f"ledger: the id {request.ledger_id} belongs to a ledger that is not called "
                f"{request.name!r}, or has meta_data: give its id alone, or another name"
            )

    def _chunks(self, rows: Iterable[Row]) -> Iterator[list[Line]]:
        """Lines that are requests, in chunks; the others are rejected here."""
        lines_max = self._pace.chunk_lines(CHUNK_LINES_MAX)
        chunk: list[Line] = []
        characters = 0
        for built in self._checks.judged(self._builder.lines(rows)):
            if isinstance(built, Reject):
                self.summary.refused_before_log[built.code] += 1
                self._reject(built)
            else:
                chunk.append(built)
                characters += built.characters
            if len(chunk) == lines_max or characters >= CHUNK_CHARACTERS_MAX:
                yield chunk
                chunk, characters = [], 0
        if chunk:
            yield chunk

    def _send(self, chunk: list[Line]) -> None:
        self._pace.wait_for(len(chunk))
        while self._window and not self._has_room(chunk):
            self._gather()
        requests, lines = self._requests(chunk)
        sent = []
        for line, receipt in zip(lines, self._accepted(requests), strict=True):
            if line is None:
                self.summary.balances_created += receipt.state == "accepted"
            elif receipt.state == "conflict":
                self._conflict(line, receipt)
            else:
                sent.append(_Sent(line.rows, line.characters, line.reference, line.own_id, receipt))
        self._keep(sent)
        self._gather_known()

    def _has_room(self, chunk: list[Line]) -> bool:
        waiting = [item for sent in self._window for item in sent]
        lines = sum(len(item.rows) for item in waiting) + sum(len(line.rows) for line in chunk)
        characters = sum(item.characters for item in waiting)
        characters += sum(line.characters for line in chunk)
        return lines <= WINDOW_LINES_MAX and characters <= WINDOW_CHARACTERS_MAX

    def _keep(self, sent: list[_Sent]) -> None:
        if self._patience_seconds is not None:
            self._window.append(sent)
            return
        for item in sent:
            if item.is_new:
                self.summary.unknown += len(item.rows)
            else:
                self.summary.duplicates += len(item.rows)

    def _requests(self, chunk: list[Line]) -> tuple[list[Request], list[Line | None]]:
        """The requests of a chunk, each balance created before it is used; None for those."""
        requests: list[Request] = []
        lines: list[Line | None] = []
        for line in chunk:
            new = {
                balance_id: key for balance_id, key in line.keys.items() if self._is_new(balance_id)
            }
            currencies = line.currencies if new else {}
            for balance_id, key in new.items():
                currency = currencies[balance_id]
                requests.append(self._builder.balance_request(balance_id, key, currency))
                lines.append(None)
            requests.append(line.request)
            lines.append(line)
        return requests, lines

    def _is_new(self, balance_id: str) -> bool:
        if balance_id in self._balances:
            self._balances.move_to_end(balance_id)
            return False
        self._balances[balance_id] = None
        if len(self._balances) > BALANCES_REMEMBERED_MAX:
            self._balances.popitem(last=False)
        return True

    def _conflict(self, line: Line, receipt: Receipt) -> None:
        reference = line.reference
        code = Reason.REFERENCE_CONFLICT
        named = "id" if reference is None else "reference"
        reason = f"{named}: belongs to another request, {receipt.id}; nothing was sent"
        self._refuse(line.rows, code, reason, reference, self.summary.refused_before_log)

    # what the log says

    def _accepted(self, requests: Sequence[Request]) -> list[Receipt]:
        """A receipt for each request, in order, however often the log must be asked.

        One line of many rows may bring more new balances than one call takes.
        Sending again what may have been accepted is safe: the log answers it as a duplicate.
        """
        receipts: list[Receipt] = []
        retries = 0
        while len(receipts) < len(requests):
            start = len(receipts)
            try:
                receipts += self._door.enqueue_many(requests[start : start + ENQUEUE_MANY_MAX])
                retries = 0
            except LogFull as fault:
                receipts += fault.accepted
                retries = 0 if fault.accepted else retries + 1
                self._pause(fault, retries, LOG_FULL_RETRIES_MAX, fault.retry_after_seconds)
            except LogUnavailable as fault:
                retries += 1
                self._pause(fault, retries, LOG_UNAVAILABLE_RETRIES_MAX)
        return receipts

    def _pause(
        self, fault: Exception, retries: int, retries_max: int, seconds_min: float = 0.0
    ) -> None:
        if isinstance(fault, FINAL):
            raise fault
        if retries > retries_max:
            raise _Stopped(f"{fault} (tried {counted(retries, 'time')})") from None
        doubled: float = RETRY_SECONDS_MIN * 2 ** min(retries, 10)
        seconds = min(RETRY_SECONDS_MAX, max(seconds_min, doubled))
        self._say(f"{fault}; trying again in {seconds:g} s")
        self._clock.sleep(seconds)

    def _gather(self) -> None:
        """Count the outcomes of the oldest chunk in the window, when all of them are known."""
        assert self._patience_seconds is not None
        oldest = self._window[0]
        deadline = self._clock.now() + self._patience_seconds
        retries = 0
        while oldest:
            try:
                open_lines = self._take(oldest, WAIT_SLICE_SECONDS)
                retries = 0
            except LogUnavailable as fault:
                retries += 1
                self._pause(fault, retries, LOG_UNAVAILABLE_RETRIES_MAX)
                continue
            if len(open_lines) < len(oldest):
                deadline = self._clock.now() + self._patience_seconds
            elif self._clock.now() >= deadline:
                raise _Stopped(
                    f"no line was posted for {self._patience_seconds:g} s: does a worker run? "
                    "See `daybook status`. What was sent stays in the log and will be posted"
                )
            oldest = self._window[0] = open_lines
        self._window.popleft()

    def _gather_known(self) -> None:
        """Count what is known by now without waiting: outcomes expire, and a run may be slow."""
        while self._window:
            try:
                self._window[0] = self._take(self._window[0], timeout=0)
            except LogUnavailable:
                return  # what must wait for it will try again
            if self._window[0]:
                return
            self._window.popleft()

    def _take(self, sent: list[_Sent], timeout: float) -> list[_Sent]:
        """Count those with an outcome; the others come back. timeout: seconds."""
        outcomes = self._door.wait_many([item.receipt for item in sent], timeout)
        still_open = []
        for item, outcome in zip(sent, outcomes, strict=True):
            if outcome is None:
                still_open.append(item)
            else:
                self._count(item, outcome)
        return still_open

    def _count(self, item: _Sent, outcome: Outcome) -> None:
        rows = len(item.rows)
        if _is_duplicate(item, outcome):
            self.summary.duplicates += rows
            if outcome.status == Status.REJECTED:
                self._refused(item, outcome, self.summary.refused_earlier)
        elif outcome.status == Status.REJECTED:
            self._refused(item, outcome, self.summary.refused_by_ledger)
        elif outcome.status == Status.INFLIGHT:
            self.summary.inflight += rows
        elif outcome.status == Status.SCHEDULED:
            self.summary.scheduled += rows
        else:
            self.summary.applied += rows

    def _refused(self, item: _Sent, outcome: Outcome, counter: dict[str, int]) -> None:
        code = str(outcome.reason)
        reason = outcome.detail or "refused by the ledger"
        self._refuse(item.rows, code, reason, item.reference, counter)

    def _refuse(
        self,
        rows: Sequence[Row],
        code: str,
        reason: str,
        reference: str | None,
        counter: dict[str, int],
    ) -> None:
        counter[code] += len(rows)
        for reject in rejects_of(rows, code, reason, reference):
            self._reject(reject)


def _is_duplicate(item: _Sent, outcome: Outcome) -> bool:
    """Whether the line was in the log or the ledger before this run.

    A line of this run that was sent twice, because the log did not answer, has its own id.
    """
    if not item.is_new or outcome.transaction_id != item.receipt.id:
        return True
    return outcome.duplicate and item.receipt.state == "accepted"


def dry_run(
    rows: Iterable[Row], builder: Builder, reject: Callable[[Reject], None]
) -> Iterator[Summary]:
    """Build the request of every row and send none; yields the summary now and then."""
    clock = Clock()
    summary, started = Summary(is_dry_run=True), clock.now()
    checks = Checks()
    for count, built in enumerate(checks.judged(builder.lines(rows)), 1):
        if isinstance(built, Reject):
            summary.refused_before_log[built.code] += 1
            reject(built)
        else:
            summary.valid += len(built.rows)
        summary.dates_backwards = checks.backwards
        if count % CHUNK_LINES_MAX == 0:
            summary.seconds = clock.now() - started
            yield summary
    summary.seconds = clock.now() - started
    yield summary
