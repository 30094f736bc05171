"""Backups: the whole ledger in a file, as ``daybook export`` writes it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

import structlog
from fastapi import APIRouter
from sqlalchemy import Engine

from daybook.api.exact import Exact, ExactRoute
from daybook.api.faults import Fault
from daybook.api.service import Service, TheService, now_of
from daybook.errors import DaybookError
from daybook.store.transfer.exporting import export_ledger
from daybook.store.transfer.files import whole_file

router = APIRouter(route_class=ExactRoute, tags=["backup"])

CODE = "ADMIN_BACKUP_FAILED"

log = structlog.get_logger()


@router.get("/backup")
async def backup(service: TheService) -> Exact:
    """Write the ledger, as it is at one instant, into a new file of DAYBOOK_API_BACKUP_FOLDER."""
    folder = service.settings.api_backup_folder
    if folder is None:
        raise _failed("no folder is set: DAYBOOK_API_BACKUP_FOLDER names where files go")
    if service.backup.locked():
        raise Fault(409, "GEN_CONFLICT", "a backup is under way: wait until it has ended")
    async with service.backup:
        return Exact({"message": "backup successful", "file": await _kept(service, folder)})


@router.get("/backup-s3")
async def backup_to_s3() -> Exact:
    """Not offered: copy the file of a backup with the tools of your storage."""
    raise _failed("no storage is known here: copy the file that GET /backup writes")


async def _kept(service: Service, folder: Path) -> str:
    try:
        return await asyncio.to_thread(_write, service.engine, folder, now_of(service))
    except (OSError, DaybookError) as fault:
        log.exception("api.backup")
        why = fault.strerror if isinstance(fault, OSError) else "the ledger can't be read now"
        raise _failed(f"{why}: see the log of the server") from None


def _failed(text: str) -> Fault:
    """Of a backup, the old form of the error is an object, too."""
    more = {"error": {"code": CODE, "message": text, "details": None}}
    return Fault(500, CODE, text, more=more)


def _write(engine: Engine, folder: Path, now: datetime) -> str:
    """The name of the file."""
    name = f"daybook-{now:%Y%m%dT%H%M%S.%fZ}.ndjson"
    with whole_file(folder / name) as write:
        export_ledger(engine, write)
    return name
