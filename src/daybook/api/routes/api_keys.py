"""Keys of this API: made, listed and revoked by the master key, or by a key for its own owner."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi import Request as HttpRequest

from daybook.api.blnk.bodies import ApiKeyBody
from daybook.api.blnk.shapes import api_key
from daybook.api.exact import Exact, ExactRoute
from daybook.api.faults import Fault, invalid, invalid_fields
from daybook.api.rights import Principal, principal_of
from daybook.api.service import TheService, now_of
from daybook.errors import NotFound
from daybook.registry.keys import NewKey, create_key, list_keys, revoke_key
from daybook.registry.scopes import beyond
from daybook.requests.fields import is_clean

router = APIRouter(route_class=ExactRoute, tags=["api-keys"])

Owner = Annotated[str | None, Query(description="Whose keys; a key's own owner by default.")]


@router.post("/api-keys", status_code=201)
async def create(body: ApiKeyBody, request: HttpRequest, service: TheService) -> Exact:
    """Make a key. Its text is in this answer, and nowhere else."""
    principal = _principal(request)
    wanted = NewKey(body.name, _own(principal, body.owner), tuple(body.scopes), body.expires())
    own_end = principal.key.expires_at if principal.key else None
    if errors := wanted.errors(now_of(service), own_end):
        raise invalid_fields("APIKEY_INVALID", errors)
    if principal.key is not None and (more := beyond(wanted.scopes, principal.key.scopes)):
        text = f"a key may not grant what it lacks: {', '.join(more)}"
        raise Fault(403, "AUTH_SCOPE_ESCALATION", text)
    made, text = await service.register(create_key, wanted, now_of(service))
    return Exact(api_key(made, text), 201)


@router.get("/api-keys")
async def keys_of(request: HttpRequest, service: TheService, owner: Owner = None) -> Exact:
    """All keys of an owner, the newest first; never their texts."""
    found = await service.register(list_keys, _own(_principal(request), owner))
    return Exact([api_key(key) for key in found])


@router.delete("/api-keys/{api_key_id}", status_code=204)
async def revoke(
    api_key_id: str, request: HttpRequest, service: TheService, owner: Owner = None
) -> Response:
    """Revoke a key: from this moment on it opens nothing."""
    principal = _principal(request)
    try:
        await service.register(revoke_key, api_key_id, _own(principal, owner), now_of(service))
    except NotFound as fault:
        raise Fault(404, "APIKEY_NOT_FOUND", str(fault)) from None
    return Response(status_code=204)


def _principal(request: HttpRequest) -> Principal:
    found = principal_of(request.scope)
    if found is None:
        text = "no keys are used here: set DAYBOOK_API_MASTER_KEY, and send it as X-Blnk-Key"
        raise Fault(401, "AUTH_MISSING_PRINCIPAL", text)
    return found


def _own(principal: Principal, owner: str | None) -> str:
    """Whose keys are meant. Raises Fault for somebody else's."""
    if principal.key is None:
        if owner is None or not owner.strip():
            raise Fault(400, "APIKEY_OWNER_REQUIRED", "owner is required")
        if not is_clean(owner):
            raise invalid("APIKEY_INVALID", [("owner", "contains a NUL character; remove it")])
        return owner
    if owner not in (None, "", principal.key.owner):
        text = f"this key manages keys of {principal.key.owner} only"
        raise Fault(403, "AUTH_CROSS_OWNER_ACCESS", text)
    return principal.key.owner
