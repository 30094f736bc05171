"""No password is told by a command, a worker, beat or Flower, also when nothing can be reached."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.harness import Installation, wait_until
from tests.integration.test_celery_worker import celery

QUOTED = "s3cr%40t%2Fx"
NOWHERE = "127.0.0.1:1"
DATABASE = f"postgresql://me:{QUOTED}@{NOWHERE}/db?sslpassword={QUOTED}"
ADDRESSES = [
    f"redis://:{QUOTED}@{NOWHERE}/0",
    f"rediss://user:{QUOTED}@{NOWHERE}/0?ssl_cert_reqs=required",
    f"redis://{NOWHERE}/0?password={QUOTED}",
    f"unix://user:{QUOTED}@/nowhere/valkey.sock?db=0",
    "redis://:s3cr@t/x@127.0.0.1:1/0",
]
COMMANDS = ["status", "ledger create x", "transactions", "verify", "migrate", "enqueue"]


@pytest.mark.parametrize("redis_url", ADDRESSES)
def test_commands_that_fail_tell_no_password(
    installation: Installation, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They name what is away, in every spelling of an address."""
    monkeypatch.setenv("DAYBOOK_RETRY_SECONDS_MAX", "0")
    for name, url in (("redis_url", redis_url), ("worker_url", DATABASE), ("owner_url", DATABASE)):
        monkeypatch.setattr(installation, name, url)
    for command in COMMANDS:
        done = installation.run(*command.split(), stdin=subprocess.DEVNULL)
        told = done.stdout + done.stderr
        assert done.returncode != 0
        assert "error" in told
        assert "s3cr" not in told


@pytest.mark.parametrize(
    ("words", "sign"),
    [
        ("worker -c 1 --loglevel DEBUG", "Connection refused"),
        ("beat --loglevel DEBUG --pidfile=", "Connection refused"),
        ("flower --address=127.0.0.1 --port=0", "Connection refused"),
    ],
)
def test_logs_of_celery_tell_no_password(
    installation: Installation,
    words: str,
    sign: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Banner, errors and tracebacks of a worker, beat and Flower whose broker is away."""
    monkeypatch.setattr(installation, "redis_url", ADDRESSES[0])
    if words.startswith("worker"):  # it asks the database for its partitions before all else
        words += " -Q daybook.intake"
    if words.startswith("beat"):
        words += f" --schedule {tmp_path / 'schedule'}"
    path = installation.folder / "worker.log"

    def told() -> str:
        return path.read_text(errors="replace") if path.exists() else ""

    with celery(installation, *words.split()):
        wait_until(lambda: sign in told(), sign)
    assert "s3cr" not in told()


@pytest.mark.parametrize("redis_url", ADDRESSES[2:])
def test_celerys_report_tells_no_password(
    installation: Installation, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It prints the whole configuration."""
    monkeypatch.setattr(installation, "redis_url", redis_url)
    with celery(installation, "report") as report:
        report.wait(60)
    told = (installation.folder / "worker.log").read_text()
    is_address = "s3cr@t/" not in redis_url  # that one is refused as it is read
    assert ("result_backend" if is_address else "its database must be a number") in told
    assert "s3cr" not in told
