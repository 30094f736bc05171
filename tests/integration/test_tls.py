"""TLS by the addresses alone, for PostgreSQL, the log and the broker that is derived from it."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu.connection import Connection
from kombu.exceptions import OperationalError
from sqlalchemy import text
from sqlalchemy.engine import make_url
from tests.harness import Installation
from tests.tls import Proxy, tls_in_front

from daybook import AsyncClient, Client
from daybook.errors import LogRefused, StoreUnavailable
from daybook.settings import celery_url
from daybook.store.engine import make_engine
from daybook.store.read.queries import reading

SECRET = "s3cr%2Fet"


def fields(reference: str) -> dict[str, Any]:
    return {
        "reference": reference,
        "source": "@World",
        "destination": "@Till",
        "currency": "USD",
        "precise_amount": 5,
        "precision": 100,
        "allow_overdraft": True,
    }


@pytest.fixture
def doors(installation: Installation, tmp_path: Path) -> Iterator[tuple[Proxy, Proxy]]:
    """TLS in front of the installation's servers."""
    with tls_in_front(installation.worker_url, installation.redis_url, tmp_path) as proxies:
        yield proxies


def database_url(installation: Installation, door: Proxy, authority: Path) -> str:
    url = make_url(installation.worker_url).set(host="127.0.0.1", port=door.port, query={})
    made = url.update_query_dict({"sslmode": "verify-full", "sslrootcert": str(authority)})
    return made.render_as_string(hide_password=False)


def redis_url(installation: Installation, door: Proxy, authority: Path, more: str = "") -> str:
    number = installation.redis_url.partition("db=")[2] or "0"
    return f"rediss://127.0.0.1:{door.port}/{number}?ssl_ca_certs={authority}{more}"


@pytest.mark.parametrize(
    "more", ["", pytest.param("&ssl_cert_reqs=required", marks=pytest.mark.campaign)]
)
def test_everything_goes_through_tls(
    installation: Installation, doors: tuple[Proxy, Proxy], tmp_path: Path, more: str
) -> None:
    """Producer, worker, beat, dry run and status, with and without Celery's own parameter."""
    database, log = doors
    ca = tmp_path / "ca.pem"
    installation.worker_url = database_url(installation, database, ca)
    installation.redis_url = redis_url(installation, log, ca, more)
    installation.workers(beat=True)
    with Client(installation.redis_url, settings=installation.settings) as client:
        receipt = client.enqueue(fields("one"))
        assert receipt.wait(30).status == "APPLIED"
        assert client.dry_run.refund(receipt.id).would_apply
    shown = installation.run("status", "--json")
    assert (shown.returncode, '"workers": []' in shown.stdout) == (0, False), shown.stderr
    assert (database.connections > 0, log.connections > 0) == (True, True)
    assert (database.refused, log.refused) == (0, 0)


def test_a_certificate_of_another_authority_is_refused(
    installation: Installation, doors: tuple[Proxy, Proxy], tmp_path: Path
) -> None:
    """By the client, the asyncio client, the broker and PostgreSQL, and no message has a secret."""
    database, log = doors
    other = tmp_path / "other.pem"
    url = redis_url(installation, log, other).replace("rediss://", f"rediss://:{SECRET}@")
    with (
        Client(url, settings=installation.settings) as client,
        pytest.raises(LogRefused, match=r"not trusted .*ssl_ca_certs") as refused,
    ):
        client.enqueue(fields("one"))
    assert log.connections == 1  # once: trying again would change nothing
    asyncio.run(refused_async(url, installation))
    with (
        Connection(celery_url(url)) as broker,
        pytest.raises(OperationalError, match="certificate verify failed") as no_broker,
    ):
        broker.ensure_connection(max_retries=0)
    bad = database_url(installation, database, other).replace("only-for-tests", SECRET)
    engine = make_engine(bad)
    with (
        pytest.raises(StoreUnavailable, match="certificate verify failed") as no_store,
        reading(engine) as connection,
    ):
        connection.execute(text("SELECT 1"))
    engine.dispose()
    for fault in (refused, no_broker, no_store):
        told = "".join(traceback.format_exception(fault.value))
        assert "s3cr" not in told
    assert installation.rows("SELECT count(*) FROM transactions WHERE subject IS NULL") == [(0,)]


async def refused_async(url: str, installation: Installation) -> None:
    async with AsyncClient(url, settings=installation.settings) as client:
        with pytest.raises(LogRefused, match="not trusted"):
            await client.enqueue(fields("one"))


def test_the_broker_is_never_talked_to_in_plain_text() -> None:
    """Its address asks for TLS, whether or not it says how certificates are checked."""
    for given, wanted in (
        ("rediss://h:1/0?password=a+b%2F", "rediss://:a%20b%2F@h:1/0?ssl_cert_reqs=required"),
        ("rediss://h:1/0", "rediss://h:1/0?ssl_cert_reqs=required"),
        ("rediss://h:1/0?ssl_keyfile=k", "rediss://h:1/0?ssl_keyfile=k&ssl_cert_reqs=required"),
        ("rediss://h:1/0?ssl_cert_reqs=none", "rediss://h:1/0?ssl_cert_reqs=none"),
    ):
        assert celery_url(given) == wanted
        assert Connection(celery_url(given)).ssl
