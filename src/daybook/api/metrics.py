"""Metrics in the form of Prometheus: of this API's requests, and of how far the ledger is."""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY, Collector

from daybook.api.faults import Fault
from daybook.api.rights import needed
from daybook.api.service import Service, accepted_at, now_of
from daybook.errors import DaybookError
from daybook.store.read.views import PartitionView

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names a folder in which several processes add up their numbers."""

_NAMES = ("method", "resource")
_REQUESTS = Counter("daybook_api_requests", "Requests that were answered.", (*_NAMES, "status"))
_SECONDS = Histogram(
    "daybook_api_request_seconds",
    "How long an answer took.",
    _NAMES,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"})


def note(method: str, path: str, status: int, seconds: float) -> None:
    """Count an answer. What it is of is told by the resource of its path: those are few."""
    found = needed(method, path)
    names = (method if method in _METHODS else "other", found[0] if found else "other")
    _REQUESTS.labels(*names, str(status)).inc()
    _SECONDS.labels(*names).observe(seconds)


def check_token(token: str | None, authorization: str | None) -> None:
    """See to it that who asks may. token: None where nobody may. Raises Fault."""
    if token is None:
        text = "metrics are off: set DAYBOOK_API_METRICS_TOKEN, and send it as a bearer token"
        raise Fault(403, "AUTH_METRICS_DISABLED", text)
    if not authorization:
        text = "send the token of DAYBOOK_API_METRICS_TOKEN: Authorization: Bearer …"
        raise Fault(401, "AUTH_METRICS_TOKEN_REQUIRED", text)
    scheme, _, given = authorization.partition(" ")
    known = hmac.compare_digest(given.strip().encode("latin-1"), token.encode())
    if scheme.lower() != "bearer" or not known:
        raise Fault(401, "AUTH_INVALID_BEARER_TOKEN", "Invalid bearer token")


class Standing(NamedTuple):
    """How far a partition is. oldest_seconds: the age of its oldest open entry; 0 without one."""

    view: PartitionView
    oldest_seconds: float


async def standings(service: Service) -> list[Standing]:
    """How far each partition is. Raises StoreUnavailable, LogUnavailable."""
    now = now_of(service)
    return [
        Standing(view, 0.0 if oldest is None else _age(now, oldest))
        for view, oldest in await service.oldest_open()
    ]


def _age(now: datetime, position: int) -> float:
    return max(0.0, (now - accepted_at(position)).total_seconds())


async def exposed(service: Service) -> bytes:
    """All metrics as text. A ledger that is away is told as that: it keeps nothing else out."""
    try:
        found: Sequence[Standing] | None = await standings(service)
    except DaybookError:
        found = None
    own = REGISTRY
    if SHARED_FOLDER in os.environ:
        own = CollectorRegistry()
        MultiProcessCollector(own)  # type: ignore[no-untyped-call]  # it has no types
    ledger = CollectorRegistry()
    ledger.register(_Ledger(found))
    return generate_latest(own) + generate_latest(ledger)


class _Ledger(Collector):
    def __init__(self, found: Sequence[Standing] | None) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        """What was found, as metrics."""
        text = "1 when log and ledger can be asked."
        yield GaugeMetricFamily("daybook_ledger_up", text, value=int(self._found is not None))
        records = CounterMetricFamily(
            "daybook_partition_records", "Records of its journal.", labels=["partition"]
        )
        deferred = GaugeMetricFamily(
            "daybook_partition_deferred_entries", "Entries that wait.", labels=["partition"]
        )
        oldest = GaugeMetricFamily(
            "daybook_partition_oldest_open_seconds",
            "Age of the oldest entry that is not decided; 0 without one.",
            labels=["partition"],
        )
        for view, age in self._found or ():
            labels = [str(view.partition)]
            records.add_metric(labels, view.sequence)
            deferred.add_metric(labels, view.deferred)
            oldest.add_metric(labels, age)
        yield from (records, deferred, oldest)
