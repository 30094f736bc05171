"""Faults of what the broker carries, and of what producers are told."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

from daybook.embedded.servers import Servers
from daybook.embedded.valkey import answers
from daybook.queue.doorbell import INTAKE_QUEUE, Doorbell, queue_of
from daybook.settings import celery_url
from tests.fault.campaign.kinds import Kind, Part, Promise, add
from tests.fault.campaign.stage import PARTITIONS, Stage
from tests.harness import wait_until

LOSING_SECONDS = 4.0
BETWEEN_SECONDS = 0.02
DOUBLED_TIMES = 1_000
NEEDS = frozenset({Part.VALKEY})


def again_and_again(lose: Callable[[Stage], None]) -> Callable[[Stage], None]:
    def act(stage: Stage) -> None:
        deadline = time.monotonic() + LOSING_SECONDS
        while time.monotonic() < deadline:
            lose(stage)
            time.sleep(BETWEEN_SECONDS)

    return act


def lose_doorbells(stage: Stage) -> None:
    stage.valkey.delete(*(queue_of(partition) for partition in range(PARTITIONS)))


def lose_messages(stage: Stage) -> None:
    """Also the sweeper's, and those that workers have taken and not acknowledged."""
    lose_doorbells(stage)
    stage.valkey.delete(INTAKE_QUEUE, "unacked", "unacked_index")


def lose_broker(stage: Stage) -> None:
    """All that Celery keeps in it, bindings of queues too."""
    lose_messages(stage)
    stage.valkey.delete(*stage.valkey.keys("_kombu*"), "nothing")


def mark_as_rung(stage: Stage) -> None:
    """Producers believe that the doorbell was rung, and nobody hears it."""
    for partition in range(PARTITIONS):
        stage.valkey.set(stage.installation.log.keys.bell(partition), 1)
    lose_doorbells(stage)


def double_doorbells(stage: Stage) -> None:
    bell = Doorbell(celery_url(stage.installation.redis_url))
    for _ in range(DOUBLED_TIMES):
        bell.ring(range(PARTITIONS))
    bell.close()


def own_broker(stage: Stage) -> None:
    """A second server that carries messages only."""
    home = stage.servers.folder.home.parent / f"broker-{stage.database}"
    servers = stage.afterwards.enter_context(Servers(home, with_postgres=False))
    stage.broker = servers
    stage.use({"DAYBOOK_BROKER_URL": servers.redis_url})


def lose_own_broker(stage: Stage) -> None:
    broker = stage.broker
    assert broker is not None
    _, server = broker.children["valkey"]
    server.kill()
    server.wait()
    time.sleep(LOSING_SECONDS)
    shutil.rmtree(broker.folder.valkey / "appendonlydir")
    broker.restart("valkey")
    wait_until(lambda: answers(broker.redis_url), "the broker answers")


def lose_replies(stage: Stage) -> None:
    """And the guard against repetitions: from then on only the journal knows them."""
    keys = stage.installation.log.keys
    for place in keys.known(["*"]):
        stage.valkey.delete(*stage.valkey.keys(place), "nothing")


add(
    Kind(
        "doorbells-lost",
        "the queues of all partitions are deleted, again and again",
        again_and_again(lose_doorbells),
        needs=NEEDS,
    )
)
add(
    Kind(
        "messages-lost",
        "all messages of the broker are deleted, again and again",
        again_and_again(lose_messages),
        needs=NEEDS,
    )
)
add(
    Kind(
        "broker-emptied",
        "all keys of the broker are deleted, bindings too",
        again_and_again(lose_broker),
        needs=NEEDS,
    )
)
add(
    Kind(
        "doorbell-marks-stuck",
        "the log says that its doorbells were rung, and they were not",
        again_and_again(mark_as_rung),
        needs=NEEDS,
    )
)
add(
    Kind(
        "own-broker-lost",
        "a broker of its own is killed and comes back empty",
        lose_own_broker,
        prepare=own_broker,
        takes=frozenset({Part.BROKER}),
    )
)
add(Kind("doorbells-doubled", "a thousand doorbells too many", double_doorbells, needs=NEEDS))
add(
    Kind(
        "replies-lost",
        "outcomes are deleted from Redis before anybody reads them",
        again_and_again(lose_replies),
        promise=Promise.SEND_AGAIN,
        takes=frozenset({Part.OUTCOMES}),
        needs=NEEDS,
    )
)
