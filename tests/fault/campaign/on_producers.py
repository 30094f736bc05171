"""Faults of producers."""

from __future__ import annotations

import subprocess
import sys
import time
from random import Random

from daybook import Client
from daybook.settings import read_settings
from tests.fault.campaign.kinds import Kind, add
from tests.fault.campaign.stage import Stage
from tests.fault.requests import mixed

TIMES = 4
REQUESTS = 400
RUN = "import sys; from tests.fault.campaign.on_producers import produce; produce(sys.argv[1:])"


def produce(balances: list[str]) -> None:
    """A producer as a program: the same requests whenever it is started."""
    requests = mixed(Random("producer"), balances, REQUESTS, "program")
    with Client(settings=read_settings()) as client:
        for start in range(0, len(requests), 5):
            client.enqueue_many(requests[start : start + 5])


def kill(stage: Stage) -> None:
    """Started again each time, it sends all from its first request on."""
    for _ in range(TIMES):
        before = stage.valkey.dbsize()
        producer = subprocess.Popen(
            [sys.executable, "-c", RUN, *stage.balances], env=stage.installation.environment
        )
        deadline = time.monotonic() + 20
        while producer.poll() is None and stage.valkey.dbsize() < before + 150:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        producer.kill()
        producer.wait()


add(Kind("producers-killed", "`kill -9` of a producer that begins anew each time", kill))
