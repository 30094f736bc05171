"""What stands around the API: metrics for who has the token, limits of a key, pages of others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.browser import BROWSER, in_a_browser
from tests.harness import Cluster, Installation
from tests.integration.serving import refused, served

from daybook.api.rights import PAGE_PATHS
from daybook.api.serving import check_origins
from daybook.errors import ConfigError
from daybook.settings import Settings

MASTER = "the master key"
ORIGIN = "https://books.example.org"


@pytest.fixture(scope="module")
def http(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server with a limit, a token of metrics and an origin; its requests have the key."""
    installation = Installation(cluster, 1, Path(tmp_path_factory.mktemp("outside")))
    more = {
        "api_requests_per_second_max": 20.0,
        "api_metrics_token": "a-token",
        "api_cors_origins": f"{ORIGIN}, https://other.example.org",
    }
    try:
        with (
            served(installation, MASTER, **more) as url,
            httpx.Client(base_url=url, headers={"X-Blnk-Key": MASTER}, timeout=30) as client,
        ):
            installation.client.enqueue(
                {
                    "reference": "waits",
                    "source": "@World",
                    "destination": "@Cash",
                    "currency": "USD",
                    "precise_amount": 1,
                    "precision": 100,
                }
            )
            yield client
    finally:
        installation.close()


def answer(found: httpx.Response) -> tuple[int, Any]:
    return found.status_code, found.json()


def test_metrics_are_for_who_has_the_token(http: httpx.Client) -> None:
    """They count answers, and say how old the oldest open entry is."""
    refused(answer(http.get("/metrics")), 401, "AUTH_METRICS_TOKEN_REQUIRED")
    for word in ("Bearer another", "a-token", "Basic a-token"):
        wrong = http.get("/metrics", headers={"Authorization": word})
        refused(answer(wrong), 401, "AUTH_INVALID_BEARER_TOKEN")
    http.get("/ledgers")
    http.get("/what/ever/you/like")
    found = http.get("/metrics", headers={"Authorization": "bearer a-token"})
    lines = dict(line.rsplit(" ", 1) for line in found.text.splitlines() if line[0] != "#")
    counted = 'daybook_api_requests_total{method="GET",resource="ledgers",status="200"}'
    assert float(lines[counted]) >= 1
    assert not any("what" in name for name in lines)
    assert lines["daybook_ledger_up"] == "1.0"
    assert float(lines['daybook_partition_oldest_open_seconds{partition="0"}']) > 0
    assert lines['daybook_partition_records_total{partition="0"}'] == "0.0"


def test_metrics_are_off_without_a_token(cluster: Cluster, tmp_path: Path) -> None:
    """No matter who asks; and no server serves pages of others without a key."""
    installation = Installation(cluster, 1, tmp_path)
    try:
        with served(installation) as url, httpx.Client(base_url=url) as client:
            refused(answer(client.get("/metrics")), 403, "AUTH_METRICS_DISABLED")
    finally:
        installation.close()
    with pytest.raises(ConfigError, match="without DAYBOOK_API_MASTER_KEY"):
        check_origins(Settings(api_cors_origins=ORIGIN, api_master_key=None))


def test_the_page_of_all_routes_comes_from_here(http: httpx.Client, tmp_path: Path) -> None:
    """Without a key, with nothing from elsewhere; a browser shows what it describes."""
    bare = httpx.Client(base_url=http.base_url, timeout=30)
    for path in PAGE_PATHS:
        found = bare.get(path)
        assert found.status_code == 200, path
        assert "default-src 'none'" in found.headers["content-security-policy"]
    page = bare.get("/docs")
    assert "//" not in page.text
    document = bare.get("/openapi.json").json()
    assert {"/transactions", "/balances/{balance_id}", "/accounts"} <= document["paths"].keys()
    if BROWSER:
        shown = in_a_browser(f"{http.base_url}/docs", tmp_path / "browser")
        assert "Post a transaction" in shown or "/refund-transaction/" in shown


def test_a_backup_is_the_ledger_in_a_file(cluster: Cluster, tmp_path: Path) -> None:
    """For its owner alone, and whole; where it can't be written, that is told and nothing stays."""
    installation = Installation(cluster, 1, tmp_path)
    folder = tmp_path / "backups"
    try:
        with (
            served(installation, api_backup_folder=folder) as url,
            httpx.Client(base_url=url, timeout=30) as client,
        ):
            status, found = answer(client.get("/backup"))
            assert (status, found["error_detail"]["code"]) == (500, "ADMIN_BACKUP_FAILED")
            assert found["error"]["code"] == "ADMIN_BACKUP_FAILED"
            folder.mkdir()
            status, found = answer(client.get("/backup"))
            assert (status, found["message"]) == (200, "backup successful")
            (file,) = folder.iterdir()
            assert (file.name, file.stat().st_mode & 0o777) == (found["file"], 0o600)
            first, *_, last = (json.loads(line) for line in file.read_bytes().splitlines())
            assert (first["daybook"], last["daybook"]) == ("export", "end")
            assert client.get("/backup-s3").status_code == 500
    finally:
        installation.close()


def test_a_key_that_asks_too_often_is_told_when_to_come_back(http: httpx.Client) -> None:
    """What says that the server is there answers all the same."""
    found = [http.get("/ledgers") for _ in range(60)]
    late = next(one for one in found if one.status_code == 429)
    refused(answer(late), 429, "GEN_RATE_LIMITED", "try again in")
    assert late.headers["retry-after"] == "1"
    assert http.get("/health").status_code == 200


def test_a_page_of_a_known_origin_may_ask(http: httpx.Client) -> None:
    """Its browser is told so before it has a key; pages of others are told nothing."""
    wanted = {"Access-Control-Request-Method": "POST"}
    wanted["Access-Control-Request-Headers"] = "x-blnk-key, content-type"
    allowed = httpx.options(f"{http.base_url}/transactions", headers={"Origin": ORIGIN, **wanted})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    foreign = {"Origin": "https://evil.example.org", **wanted}
    refused_one = httpx.options(f"{http.base_url}/transactions", headers=foreign)
    assert "access-control-allow-origin" not in refused_one.headers
    shown = http.get("/health", headers={"Origin": ORIGIN})
    assert shown.headers["access-control-allow-origin"] == ORIGIN
    assert "x-request-id" in shown.headers["access-control-expose-headers"]
