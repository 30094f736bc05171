"""``daybook migrate`` and ``daybook worker``: what a deployment runs."""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated

import typer

from daybook.cli.output import AsJson, print_json
from daybook.cli.wiring import current
from daybook.counting import counted
from daybook.extras import require
from daybook.installation.bounds import PARTITIONS_MAX


def migrate(
    partitions: Annotated[
        int | None,
        typer.Option(
            min=1, max=PARTITIONS_MAX, help="Partitions of a new installation; 2 if not given."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Bring Postgres to this version's schema and make the log known to Redis.

    Running it again, or twice at once, changes nothing. It needs the owner of the schema:
    DAYBOOK_MIGRATION_DATABASE_URL.
    """
    from daybook.installation.install import install
    from daybook.installation.migrate import NEWEST_REVISION

    settings = current()
    number = install(
        settings.require_migration_database_url(),
        settings.require_redis_url(),
        partitions,
        settings,
    )
    if as_json:
        print_json({"schema_revision": NEWEST_REVISION, "partitions": number})
        return
    typer.echo(f"Ready: schema {NEWEST_REVISION}, {counted(number, 'partition')}.")


def worker(context: typer.Context) -> None:
    """Run a Celery worker for all partitions, or for some: -Q daybook.partition.0.

    All options are Celery's own: see `celery worker --help`. Ctrl-C finishes the batch first.
    """
    from daybook.settings import read_settings

    settings = read_settings()  # what is misspelt there the worker itself tells
    settings.require_database_url()
    settings.require_broker_url()
    arguments = ["-m", "celery", "-A", "daybook.worker", "worker", *context.args]
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - no shell on the way


def api(
    host: Annotated[
        str | None, typer.Option(help="Where to listen; by default DAYBOOK_API_HOST.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65_535, help="By default DAYBOOK_API_PORT, which is 5001."),
    ] = None,
) -> None:
    """Serve the HTTP API: what is written for Blnk runs against it by changing the base URL.

    With DAYBOOK_API_MASTER_KEY clients send it as X-Blnk-Key; without, only this machine is served.
    """
    require("api")
    gc.disable()  # what is imported stays: to go through it took a fifth of the start
    from daybook.api.serving import serve

    gc.freeze()
    gc.enable()
    serve(current(), host, port)
