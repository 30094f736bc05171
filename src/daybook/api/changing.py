"""Changes of what is not money: asked for, and waited for until they have come true."""

from __future__ import annotations

from typing import Any

from daybook.api.blnk.bodies import validated
from daybook.api.service import WAIT_SECONDS_MAX, Service, unless_refused
from daybook.requests import ChangeRequest


async def change(
    service: Service,
    subject_id: str,
    fields: dict[str, str] | None = None,
    meta_data: dict[str, Any] | None = None,
) -> None:
    """Change a ledger, balance, identity, transaction or bulk. Raises Fault."""
    given = {"subject_id": subject_id, "fields": fields, "meta_data": meta_data}
    request = validated(ChangeRequest, given, "GEN_VALIDATION_ERROR")
    unless_refused(await service.hand_in(request, WAIT_SECONDS_MAX))
