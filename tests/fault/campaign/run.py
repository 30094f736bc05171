"""One kind of fault, from the first request to the verdict."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from daybook.client.receipts import Receipt
from daybook.embedded.servers import Servers
from tests.fault.campaign.kinds import Kind, Promise, Skipped
from tests.fault.campaign.stage import Stage
from tests.fault.campaign.traffic import REQUESTS, Sent
from tests.fault.proof import assert_proved
from tests.fault.sweeping import wait_decided
from tests.harness import Cluster

DRAIN_SECONDS_MAX = 90.0
"""How long nothing may go on while something is open."""
TOLD_SECONDS_MAX = 5.0
SENT_AGAIN_MAX = 5
"""So often what was not told is sent again, before it is a violation."""


@dataclass(slots=True)
class Result:
    """What became of a kind.

    accepted: requests that the log accepted; applied: those of them with an outcome. sent_again:
    requests that were not told. back_seconds: from the end of the fault until new requests of
    every partition had their outcomes.
    """

    kind: str
    seed: int
    accepted: int = 0
    applied: int = 0
    sent_again: int = 0
    back_seconds: float | None = None
    seconds: float = 0.0
    skipped: str = ""
    violations: list[str] = field(default_factory=list)


def run_kind(
    kind: Kind,
    servers: Servers,
    cluster: Cluster,
    folder: Path,
    seed: int,
    requests: int = REQUESTS,
) -> Result:
    """Run a kind on ``servers``; whatever goes wrong stands in its violations."""
    result = Result(kind.name, seed)
    began = time.monotonic()
    try:
        stage = Stage(servers, cluster, folder, seed, requests)
        try:
            stage.begin(kind)
            _play(kind, stage, result)
            _judge(kind, stage, result)
        finally:
            stage.close()
    except Skipped as skipped:
        result.skipped = str(skipped)
    except AssertionError as violation:
        result.violations.append(str(violation))
    except Exception:
        result.violations.append(traceback.format_exc())
    result.seconds = time.monotonic() - began
    return result


def _play(kind: Kind, stage: Stage, result: Result) -> None:
    with stage.playing():
        kind.act(stage)
        if not stage.over_at:
            stage.over()
        result.back_seconds = stage.seconds_until_back()
    result.violations += stage.traffic.faults
    wait_decided(stage.installation, DRAIN_SECONDS_MAX)


def _judge(kind: Kind, stage: Stage, result: Result) -> None:
    untold = _untold(stage, stage.traffic.sent)
    result.sent_again = len(untold)
    if untold and kind.promise is Promise.NOTHING_LOST:
        result.violations.append(f"{len(untold)} outcomes were not told, as of {untold[0][1]}")
    again, untold = _send_again(stage, untold)
    if untold:
        result.violations.append(f"{len(untold)} are not told however often they are sent")
    if stage.keeper:
        stage.keeper.put_back()
    judged = {row["request_id"] for row in assert_proved(stage.installation)}
    accepted = [r for _, r in [*stage.traffic.sent, *again] if r.state == "accepted"]
    result.accepted = len(accepted)
    result.applied = sum(receipt.id in judged for receipt in accepted)
    if kind.promise is Promise.NOTHING_LOST and result.applied < result.accepted:
        result.violations.append(f"{result.accepted - result.applied} accepted requests are gone")


def _send_again(stage: Stage, untold: list[Sent]) -> tuple[list[Sent], list[Sent]]:
    """Send what was not told until all of it is; what was sent, and what was not told even so."""
    sent: list[Sent] = []
    for _ in range(SENT_AGAIN_MAX):
        if not untold:
            break
        requests = [request for request, _ in untold]
        untold = list(zip(requests, stage.installation.client.enqueue_many(requests), strict=True))
        sent += untold
        wait_decided(stage.installation, DRAIN_SECONDS_MAX)
        untold = _untold(stage, untold)
    return sent, untold


def _untold(stage: Stage, sent: list[Sent]) -> list[Sent]:
    receipts: list[Receipt] = [receipt for _, receipt in sent]
    outcomes = stage.installation.client.wait_many(receipts, TOLD_SECONDS_MAX)
    return [one for one, told in zip(sent, outcomes, strict=True) if told is None or not told.final]
