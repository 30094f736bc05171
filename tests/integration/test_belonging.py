"""A log and a database belong together, and nobody applies the log of another installation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.harness import Installation, wait_until

from daybook.api.service import Service
from daybook.errors import LogRefused
from daybook.store.epochs import installation_id

DEPOSIT = {
    "reference": "first",
    "source": "@World",
    "destination": "@Cash",
    "currency": "USD",
    "precise_amount": 5,
    "precision": 100,
    "allow_overdraft": True,
}


def id_of(installation: Installation) -> str:
    """Databases of tests are copies of one: give this one an id of its own."""
    installation.rows("UPDATE installation SET installation_id = gen_random_uuid() RETURNING 1")
    with installation.owner.connect() as connection:
        return installation_id(connection)


@pytest.fixture
def two(install_daybook: Callable[[int], Installation]) -> tuple[Installation, Installation]:
    """Two installations. The second takes the log of the first for its own."""
    own, stray = install_daybook(1), install_daybook(1)
    own.log.installation_id = id_of(own)
    own.log.install(1, 1_000, 0, anew=True)
    id_of(stray)
    stray.more_environment = {"DAYBOOK_REDIS_URL": own.redis_url}
    return own, stray


def test_a_worker_leaves_the_log_of_another_installation_alone(
    two: tuple[Installation, Installation],
) -> None:
    """It says so, and the request is applied by whom it was meant for, once."""
    own, stray = two
    receipt = own.client.enqueue(DEPOSIT)
    stray.workers(1)
    text = "this log is of the installation"
    logs = stray.folder.glob
    wait_until(lambda: any(text in file.read_text() for file in logs("*.log")), "it says so")
    assert stray.rows("SELECT count(*) FROM transactions") == [(0,)]
    own.drain()
    outcome = receipt.wait(timeout=30)
    assert outcome.status == "APPLIED"


def test_a_log_of_another_installation_is_refused(two: tuple[Installation, Installation]) -> None:
    """Where it would be installed, and where somebody asks how it is."""
    own, stray = two
    found = stray.run("migrate")
    assert found.returncode == 3, found.stderr
    assert "must name servers of the same one" in " ".join(found.stderr.split())
    found = stray.run("health", "--only", "installation")
    assert (found.returncode, "failed" in found.stdout) == (1, True), found.stdout
    service = Service(stray.settings.model_copy(update={"redis_url": own.redis_url}))
    with pytest.raises(LogRefused, match="of the installation"):
        asyncio.run(service.check_installation())
    own.log.installation_id = "another"
    with pytest.raises(LogRefused, match="of the installation"):
        own.log.read(0, 0, 10, 1 << 20)
    with pytest.raises(LogRefused, match="of the installation"):
        own.log.mend(1, 0, 0)
    with pytest.raises(LogRefused, match="of the installation"):
        own.log.install(1, 1_000, 0)


def test_a_sweep_says_whose_log_it_is(installation: Installation) -> None:
    """Where nothing did, and after Redis came back empty."""
    wanted = id_of(installation).encode()
    state = installation.log.keys.state
    installation.redis.hdel(state, "installation")
    installation.workers(1)
    wait_until(lambda: installation.redis.hget(state, "installation") == wanted, "it is known")
    installation.redis.delete(state)
    wait_until(lambda: installation.redis.hget(state, "installation") == wanted, "once more")
    found = installation.run("health", "--only", "installation")
    assert found.returncode == 0, found.stdout
