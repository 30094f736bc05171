"""What is measured over HTTP: an API in a process of its own, and a load beside it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.benchmarks.http_load import Load, request, send
from tests.benchmarks.measures import DRAIN_SECONDS_MAX, Progress
from tests.harness import Installation, free_port, wait_until

CONNECTIONS = 32
BULK_SIZE = 500
BULK_CONNECTIONS = 4
PACED_PER_SECOND = 1_000.0


@contextmanager
def serving(installation: Installation) -> Iterator[str]:
    """The address of an API in a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "daybook.cli", "api", "--port", str(port)]
    environment = installation.environment | {
        "DAYBOOK_REGISTRY_DATABASE_URL": installation.registrar_url
    }
    url = f"http://127.0.0.1:{port}"
    with (installation.folder / "api.log").open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        wait_until(lambda: _answers(url), "the API answers")
        yield url
    finally:
        process.terminate()
        process.wait(timeout=60)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def http_rates(installation: Installation, balances: list[str], number: int) -> dict[str, Any]:
    """Answers per second of each kind of request, and what of it was applied per second."""
    seed = time.time_ns()

    def payment(name: str, index: int, chosen: random.Random, source: str | None) -> dict[str, Any]:
        one, other = chosen.sample(balances, 2)
        return {
            "reference": f"{name}-{seed}-{index}",
            "source": source or ("@World" if index % 3 == 0 else one),
            "destination": other,
            "currency": "USD",
            "precise_amount": 1,
            "precision": 100,
            "description": "load",
            "allow_overdraft": True,
        }

    def posts(name: str, count: int, source: str | None = None, **more: Any) -> Iterator[bytes]:
        chosen = random.Random(name)
        for index in range(count):
            body = payment(name, index, chosen, source) | more
            yield request("POST", "/transactions", json.dumps(body).encode())

    def bulks(count: int) -> list[bytes]:
        chosen = random.Random("bulks")
        return [
            request("POST", "/transactions/bulk", json.dumps(
                {"atomic": True, "transactions": [
                    payment(f"bulk{bulk}", index, chosen, None) for index in range(BULK_SIZE)
                ]}
            ).encode())
            for bulk in range(count)
        ]  # fmt: skip

    def looks(count: int) -> Iterator[bytes]:
        chosen = random.Random("looks")
        for _ in range(count):
            yield request("GET", f"/balances/{chosen.choice(balances)}")

    with serving(installation) as url, Progress(installation) as progress:

        def applied(requests: Iterator[bytes], each: int, connections: int) -> dict[str, Any]:
            """What was sent, and applied, from the first request to the last one's record."""
            started = time.perf_counter()
            load = send(url, requests, connections)
            wait_until(progress.drained, "all is applied", DRAIN_SECONDS_MAX, pause=0.02)
            seconds = time.perf_counter() - started
            return told(load) | {"applied_per_second": len(load.latencies) * each / seconds}

        some = max(number // 4, 1)
        return {
            "post": applied(posts("spread", number), 1, CONNECTIONS),
            "post_from_one": applied(posts("hot", number, "@World"), 1, CONNECTIONS),
            "post_and_wait": told(send(url, posts("wait", some, skip_queue=True), CONNECTIONS)),
            "bulk": applied(iter(bulks(max(number // 500, 2))), BULK_SIZE, BULK_CONNECTIONS),
            "balance": told(send(url, looks(number), CONNECTIONS)),
            "post_paced": told(send(url, posts("paced", some), CONNECTIONS, PACED_PER_SECOND)),
        }


def told(load: Load) -> dict[str, Any]:
    """A load in figures. Fails where an answer was an error."""
    assert all(status < 300 for status in load.statuses), load.statuses
    return {
        "answers": len(load.latencies),
        "per_second": load.per_second,
        "median_ms": load.percentile_ms(0.5),
        "p99_ms": load.percentile_ms(0.99),
    }
