"""Workers and beat look for their broker again soon, however long it was away."""

from __future__ import annotations

import pytest
from celery import Celery

from daybook.worker.broker import AGAIN_SECONDS_MAX
from daybook.worker.celery_app import app

ATTEMPTS = 4
NOBODY = "redis://127.0.0.1:1/0"


class EnoughError(Exception):
    """So many attempts are enough."""


def test_a_broker_that_is_away_is_tried_again_every_second() -> None:
    """Pauses between attempts do not grow beyond their bound."""
    pauses: list[float] = []

    def failed(fault: Exception, pause: float) -> None:
        del fault
        pauses.append(pause)
        if len(pauses) == ATTEMPTS:
            raise EnoughError

    likewise = Celery("test", broker=NOBODY, amqp=app.amqp_cls, set_as_current=False)
    with likewise.connection_for_write() as connection, pytest.raises(EnoughError):
        connection.ensure_connection(failed, None)
    assert len(pauses) == ATTEMPTS
    assert 0 < max(pauses) <= AGAIN_SECONDS_MAX
