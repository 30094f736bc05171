"""What goes wrong over HTTP: every rejection has a code, and every fault one form."""

from __future__ import annotations

import pytest

from daybook.api.faults import REJECTIONS, refused, told
from daybook.errors import LogFull, LogUnavailable, StoreRefused, StoreUnavailable
from daybook.ledger.rejection import Reason


def test_every_rejection_has_a_code() -> None:
    """And a status that is an error's."""
    assert set(REJECTIONS) == set(Reason)
    for reason in Reason:
        fault = refused(reason, "so much")
        assert (fault.status_code >= 400, fault.content()["error"]) == (True, fault.message)
        assert fault.message.endswith("so much")


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (LogFull("full", retry_after_seconds=2.4), 503, "QUEUE_BACKPRESSURE"),
        (StoreRefused("no right"), 503, "GEN_UNAVAILABLE"),
        (LogUnavailable("redis://:secret@host"), 503, "GEN_UNAVAILABLE"),
        (StoreUnavailable("SELECT"), 503, "GEN_UNAVAILABLE"),
        (KeyError("SELECT"), 500, "GEN_INTERNAL"),
    ],
)
def test_a_fault_of_a_server_tells_nothing_of_its_inside(
    raised: Exception, status: int, code: str
) -> None:
    """What may be tried again says when."""
    fault = told(raised, "/ledgers")
    assert (fault.status_code, fault.code) == (status, code)
    assert "secret" not in fault.message
    assert "SELECT" not in fault.message
    is_worth_it = status == 503 and not isinstance(raised, StoreRefused)
    assert ("Retry-After" in (fault.headers or {})) is is_worth_it
