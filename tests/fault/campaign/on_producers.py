"""Faults of producers."""

from __future__ import annotations

import subprocess
import sys
from random import Random
from typing import cast

from daybook import Client
from daybook.settings import read_settings
from tests.fault.campaign.kinds import Kind, Part, add
from tests.fault.campaign.stage import Stage
from tests.harness import wait_until
from tests.traffic.mix import mixed

TIMES = 4
REQUESTS = 400
SOME = 40
RUN = "import sys; from tests.fault.campaign.on_producers import produce; produce(sys.argv[1:])"


def produce(balances: list[str]) -> None:
    """A producer as a program: the same requests whenever it is started."""
    requests = mixed(Random("producer"), balances, REQUESTS, "program")
    with Client(settings=read_settings()) as client:
        for start in range(0, len(requests), 5):
            client.enqueue_many(requests[start : start + 5])


def _accepted(stage: Stage) -> int:
    """How many references of the program the log knows: of what is queued, and of outcomes.

    Marks first: what is applied meanwhile has its outcome by then.
    """
    outcomes, marks = stage.installation.log.keys.known(["t:program-*"])
    found = {
        key.removeprefix(place.removesuffix("*").encode())
        for place in (marks, outcomes)
        for key in cast(list[bytes], stage.valkey.keys(place))
    }
    return len(found)


def kill(stage: Stage) -> None:
    """Started again each time, it sends all from its first request on."""
    for _ in range(TIMES):
        _kill_one(stage)


def _kill_one(stage: Stage) -> None:
    before = _accepted(stage)
    producer = subprocess.Popen(
        [sys.executable, "-c", RUN, *stage.balances], env=stage.installation.environment
    )
    wait_until(
        lambda: producer.poll() is not None or _accepted(stage) >= before + SOME,
        "it has sent some",
        progress=lambda: _accepted(stage),
    )
    producer.kill()
    producer.wait()


add(
    Kind(
        "producers-killed",
        "`kill -9` of a producer that begins anew each time",
        kill,
        needs=frozenset({Part.VALKEY, Part.OUTCOMES}),
    )
)
