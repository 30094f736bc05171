"""The journal as a feed: one record a line, behind a cursor that nothing is ever skipped behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import anyio
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from daybook.api.blnk import shapes
from daybook.api.exact import to_json
from daybook.api.rights import still_may
from daybook.api.service import Service, TheService
from daybook.store.read.tail import (
    START,
    Cursor,
    cursor_text,
    moved_on,
    present_end,
    read_cursor,
    records_after,
)
from daybook.store.read.views import TransactionView

router = APIRouter(tags=["events"])

PAGE_MAX = 1_000
POLL_SECONDS = 0.25
FOLLOW_SECONDS_MAX = 300.0
"""How long one answer follows the journal; who wants more asks again behind its last cursor."""


@router.get("/events")
async def events(
    request: Request,
    service: TheService,
    after: Annotated[
        str | None, Query(description=f"The cursor of the last line, or {START}; else from now.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
    follow: Annotated[bool, Query(description="Wait for more, instead of ending.")] = False,
) -> Response:
    """Records of the journal as NDJSON, each with the cursor behind it."""
    if after is None:
        cursor: Cursor = await service.read(present_end)
    else:
        cursor = read_cursor(after)
    first = await service.read(records_after, cursor, limit=limit)
    lines = _lines(service, request, cursor, first, limit if follow else None)
    return StreamingResponse(lines, media_type="application/x-ndjson")


async def _lines(
    service: Service,
    request: Request,
    cursor: Cursor,
    records: list[TransactionView],
    limit: int | None,
) -> AsyncIterator[bytes]:
    """The records, and what follows them. limit: records at once; None: nothing follows."""
    end = service.clock() + FOLLOW_SECONDS_MAX
    while True:
        for record in records:
            cursor = moved_on(cursor, [record])
            yield to_json({"cursor": cursor_text(cursor), **_event(record)}) + b"\n"
        if limit is None or service.clock() >= end:
            return
        if not records:
            await anyio.sleep(POLL_SECONDS)
        if not await still_may(service, request.scope):
            return
        records = await service.read(records_after, cursor, limit=limit)


def _event(record: TransactionView) -> shapes.Shape:
    return {
        "kind": record.kind,
        "partition": record.partition,
        "sequence": record.sequence,
        "subject": record.subject or "",
        "change": record.change,
        "data": shapes.transaction(record),
    }
